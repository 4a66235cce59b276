"""A short training with mild views; a longer one is worth less on other data (docs/encoders.md)."""

_base_ = 'skeletonclr_movements.py'
normal = [
    dict(type='TemporalCrop', padding_ratio=6),
    dict(type='Shear', amplitude=0.2),
    dict(type='Rotate', main_degrees=15, other_degrees=5),
]

model = dict(data_preprocessor=dict(query=normal, key=normal))
optim_wrapper = dict(optimizer=dict(lr=0.3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=200),
    dict(type='CosineAnnealingLR', T_max=1, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=1)
