"""CrosSCLR: SkeletonCLR in three streams, with cross-stream mining from the stage switch on."""

_base_ = '../_base_/aimclr.py'
streams = ['joint', 'bone', 'motion']
views = {name: value for name, value in _base_.model.data_preprocessor.items() if name != 'extreme'}
model = dict(
    _delete_=True,
    type='CrossStream',
    streams=streams,
    topk=1,
    context=True,
    data_preprocessor=dict(views, stream=streams),
    model=dict(
        type='SkeletonCLR',
        **{name: value for name, value in _base_.model.items() if name in _base_.shared},
    ),
)
if not any(hook['type'] == 'StageSwitchHook' for hook in _base_.custom_hooks):
    stage = dict(type='StageSwitchHook', epoch=_base_.train_cfg.max_epochs // 2)
    custom_hooks = [*_base_.custom_hooks, stage]
