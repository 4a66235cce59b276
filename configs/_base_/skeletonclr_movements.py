"""SkeletonCLR with the paper's encoder on pairs of performances (docs/encoders.md)."""

_base_ = 'skeletonclr.py'
normal = [
    dict(type='TemporalCrop', padding_ratio=6),
    dict(type='Shear', amplitude=0.5),
    dict(type='Rotate', main_degrees=30, other_degrees=10),
]

model = dict(
    data_preprocessor=dict(query=normal, key=normal, pairs=True),
    backbone=dict(tcn_dropout=0.0),  # no movement is seen twice
    queue_length=16384,
    temperature=0.1,
    momentum=0.99,
)
optim_wrapper = dict(optimizer=dict(lr=0.2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=200),
    dict(type='CosineAnnealingLR', T_max=9, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=9, val_interval=1)
