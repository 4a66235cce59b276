"""AimCLR for hundreds of training sequences instead of tens of thousands (docs/training.md)."""

_base_ = 'aimclr.py'
normal = [dict(type='TemporalCrop', padding_ratio=6), dict(type='Shear', amplitude=0.2)]
# No flips: swipe left and swipe right, sit down and stand up differ by nothing else.
extreme = [
    *normal,
    dict(type='Rotate', main_degrees=15, other_degrees=1),
    dict(type='GaussianNoise', std=0.01, p=0.5),
    dict(type='GaussianBlur', sigma=(0.1, 2), taps=15, p=0.5),
    dict(type='AxisMask', p=0.5),
]

model = dict(
    data_preprocessor=dict(query=normal, key=normal, extreme=extreme),
    backbone=dict(base_channels=8, out_channels=64, tcn_dropout=0.0),
    head=dict(in_channels=64),
    queue_length=256,
    temperature=0.1,
    momentum=0.99,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=240, by_epoch=True)]
train_cfg = dict(max_epochs=240, val_interval=20)
custom_hooks = [
    dict(h, epoch=120) if h['type'] == 'StageSwitchHook' else h for h in _base_.custom_hooks
]
