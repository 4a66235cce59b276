"""SkeletonCLR with a small encoder on pairs of performances (docs/encoders.md)."""

_base_ = 'skeletonclr.py'
normal = [
    dict(type='TemporalCrop', padding_ratio=6),
    dict(type='Shear', amplitude=0.2),
    dict(type='Rotate', main_degrees=15, other_degrees=5),
]

model = dict(
    data_preprocessor=dict(query=normal, key=normal, pairs=True),
    backbone=dict(base_channels=8, out_channels=128, tcn_dropout=0.0),
    head=dict(in_channels=128, hidden_channels=128, out_channels=128),
    queue_length=4096,
    temperature=0.1,
    momentum=0.99,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=8, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=8, val_interval=1)
