_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/utdmhad.py']
model = dict(
    data_preprocessor=dict(layout=_base_.layout),
    backbone=dict(layout=_base_.layout, tcn_dropout=0.0),
    queue_length=384,
    temperature=0.1,
    momentum=0.99)
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[200], gamma=0.1)]
train_cfg = dict(max_epochs=240, val_interval=20)
custom_hooks = [
    dict(type='EpochSeedHook'),
    dict(type='MomentumUpdateHook'),
    dict(type='StageSwitchHook', epoch=120),
    dict(type='HealthHook'),
    dict(type='PlainCheckpointHook'),
]
