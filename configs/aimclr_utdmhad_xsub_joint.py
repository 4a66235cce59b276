"""UTD-MHAD with settings for 431 training sequences: see "UTD-MHAD, measured" in the README."""
_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/utdmhad.py']
normal = [dict(type='TemporalCrop', padding_ratio=6), dict(type='Shear', amplitude=0.3)]
# no flips: swipe left and swipe right, sit down and stand up differ by nothing else
extreme = [*normal, *(t for t in _base_.extreme[len(normal):] if 'Flip' not in t['type'])]
model = dict(
    data_preprocessor=dict(layout=_base_.layout, query=normal, key=normal, extreme=extreme),
    backbone=dict(layout=_base_.layout, out_channels=128, tcn_dropout=0.0), head=dict(in_channels=128),
    queue_length=384, momentum=0.97)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=150, by_epoch=True)]
train_cfg = dict(max_epochs=150, val_interval=10)
custom_hooks = [dict(h, epoch=75) if h['type'] == 'StageSwitchHook' else h for h in _base_.custom_hooks]
