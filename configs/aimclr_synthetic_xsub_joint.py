"""The demonstration: a small encoder that learns within minutes on a CPU."""

_base_ = ['_base_/default_runtime.py', '_base_/aimclr_small.py', '_base_/synthetic.py']
model = dict(data_preprocessor=dict(layout=_base_.layout), backbone=dict(layout=_base_.layout))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=32, by_epoch=True)]
train_cfg = dict(max_epochs=32, val_interval=8)
custom_hooks = [
    dict(h, epoch=16) if h['type'] == 'StageSwitchHook' else h for h in _base_.custom_hooks
]
