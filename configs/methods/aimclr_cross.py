"""3s-AimCLR with cross-stream mining (section sign in the paper): three streams in one run."""

_base_ = '../_base_/aimclr.py'
streams = ['joint', 'bone', 'motion']
single = {name: value for name, value in _base_.model.items() if name != 'data_preprocessor'}
model = dict(
    _delete_=True,
    type='CrossStream',
    streams=streams,
    topk=1,
    context=True,
    data_preprocessor=dict(_base_.model.data_preprocessor, stream=streams),
    model=single,
)
if not any(hook['type'] == 'StageSwitchHook' for hook in _base_.custom_hooks):
    stage = dict(type='StageSwitchHook', epoch=_base_.train_cfg.max_epochs // 2)
    custom_hooks = [*_base_.custom_hooks, stage]
