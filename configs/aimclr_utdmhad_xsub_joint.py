_base_ = ['_base_/default_runtime.py', '_base_/aimclr_small.py', '_base_/utdmhad.py']
model = dict(data_preprocessor=dict(layout=_base_.layout), backbone=dict(layout=_base_.layout))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=240, by_epoch=True)]
train_cfg = dict(max_epochs=240, val_interval=20)
custom_hooks = [dict(h, epoch=120) if h['type'] == 'StageSwitchHook' else h for h in _base_.custom_hooks]
