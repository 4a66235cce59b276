"""A short training on random movements, evaluated on synthetic actions."""

_base_ = '../skeletonclr_movements_joint.py'
frames = 24
model = dict(queue_length=1024)
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
