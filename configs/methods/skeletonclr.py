"""SkeletonCLR with the settings of the AimCLR config: no extreme view, EADM, D3M or mining."""

_base_ = '../_base_/aimclr.py'
views = {name: value for name, value in _base_.model.data_preprocessor.items() if name != 'extreme'}
model = dict(
    _delete_=True,
    type='SkeletonCLR',
    data_preprocessor=views,
    **{name: value for name, value in _base_.model.items() if name in _base_.shared},
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
