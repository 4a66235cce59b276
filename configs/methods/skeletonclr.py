"""SkeletonCLR: normal views, InfoNCE, momentum queue. With AimCLR's settings, of which it takes what it needs."""
_base_ = '../_base_/aimclr.py'
views = {name: value for name, value in _base_.model.data_preprocessor.items() if name != 'extreme'}
model = dict(
    _delete_=True,
    type='SkeletonCLR',
    data_preprocessor=views,
    backbone=_base_.model.backbone,
    head=_base_.model.head,
    queue_length=_base_.model.queue_length,
    temperature=_base_.model.temperature,
    momentum=_base_.model.momentum)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
