"""The demonstration: a small encoder that learns within minutes on a CPU."""
_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/synthetic.py']
optim_wrapper = dict(optimizer=dict(lr=0.05))
model = dict(backbone=dict(out_channels=64, tcn_dropout=0.0), head=dict(in_channels=64), queue_length=512,
             temperature=0.1, momentum=0.99)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=24, by_epoch=True)]
train_cfg = dict(max_epochs=24, val_interval=6)
custom_hooks = [dict(h, epoch=12) if h['type'] == 'StageSwitchHook' else h for h in _base_.custom_hooks]
