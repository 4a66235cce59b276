"""The demonstration: a small encoder that learns from random movements within minutes on a CPU."""

_base_ = [
    '_base_/default_runtime.py',
    '_base_/skeletonclr_movements_short.py',
    '_base_/movements.py',
]
frames = 24
model = dict(
    data_preprocessor=dict(layout=_base_.layout),
    backbone=dict(layout=_base_.layout, base_channels=8, out_channels=128),
    head=dict(in_channels=128),
    queue_length=2048,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=10),
    dict(type='CosineAnnealingLR', T_max=8, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=8, val_interval=4)
data = dict(
    ann_file='data/synthetic/synthetic_3d.pkl',
    split=['xsub_train', 'xsub_val'],
    preprocess=[
        dict(type='CenterSkeleton'),
        dict(type='ResizeClip', length=frames),
        dict(type='AlignShoulders'),
        dict(type='FormatGCNInput', num_person=2),
    ],
)
train_dataloader = dict(batch_size=128, dataset=dict(length=2560, family=1, frames=frames))
val_dataloader = dict(batch_size=64, dataset=dict(**data))
test_dataloader = val_dataloader
