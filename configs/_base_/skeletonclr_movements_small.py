"""A small encoder, trained on 256,000 pairs: a quarter of an hour on one core of a CPU."""

_base_ = 'skeletonclr_movements.py'
channels = 128
normal = [
    dict(type='TemporalCrop', padding_ratio=6),
    dict(type='Shear', amplitude=0.2),
    dict(type='Rotate', main_degrees=15, other_degrees=5),
]

model = dict(
    data_preprocessor=dict(query=normal, key=normal),
    backbone=dict(base_channels=8, out_channels=channels),
    head=dict(in_channels=channels, hidden_channels=channels),
    queue_length=4096,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=4, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=4)
