"""Synthetic actions, cross-subject: NTU's 25 joints, two people."""

_base_ = 'ntu60.py'
num_classes = 14
dataset = dict(
    ann_file='data/synthetic/synthetic_3d.pkl',
    preprocess=[
        dict(type='CenterSkeleton'),
        dict(type='ResizeClip', length=24, max_frames=None),  # the whole clip, as for own data
        dict(type='AlignShoulders'),
        dict(type='FormatGCNInput', num_person=2),
    ],
    hint='Make it with: python tools/prepare_data.py synthetic (see docs/datasets.md)',
)
train_dataloader = dict(batch_size=64, dataset=dict(**dataset, split='xsub_train'))
val_dataloader = dict(batch_size=64, dataset=dict(**dataset, split=['xsub_train', 'xsub_val']))
test_dataloader = val_dataloader
