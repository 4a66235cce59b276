"""A small encoder of random movements for a CPU, evaluated on synthetic actions."""

_base_ = '../skeletonclr_movements_joint.py'
channels, frames = 128, 24
model = dict(
    backbone=dict(base_channels=8, out_channels=channels),
    head=dict(in_channels=channels),
    queue_length=1024,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=10),
    dict(type='CosineAnnealingLR', T_max=4, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=4)
train_dataloader = dict(batch_size=64, dataset=dict(length=15360, frames=frames))

# evaluated on synthetic actions, of which it has seen nothing
dataset = dict(
    ann_file='data/synthetic/synthetic_3d.pkl',
    preprocess=[
        dict(type='CenterSkeleton'),
        dict(type='ResizeClip', length=frames),
        dict(type='AlignShoulders'),
        dict(type='FormatGCNInput', num_person=2),
    ],
    hint='Make it with: python tools/prepare_data.py synthetic (see docs/datasets.md)',
)
val_dataloader = dict(batch_size=64, dataset=dict(**dataset))
test_dataloader = val_dataloader
