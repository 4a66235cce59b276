"""SkeletonCLR with the settings of the AimCLR config: no extreme view, EADM, D3M or mining."""

_base_ = '../_base_/aimclr.py'
kept = ('backbone', 'head', 'queue_length', 'temperature', 'momentum', 'init')
views = {name: value for name, value in _base_.model.data_preprocessor.items() if name != 'extreme'}
model = dict(
    _delete_=True,
    type='SkeletonCLR',
    data_preprocessor=views,
    **{name: value for name, value in _base_.model.items() if name in kept},
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
