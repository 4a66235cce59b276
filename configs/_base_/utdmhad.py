"""UTD-MHAD, cross-subject: 20 Kinect v1 joints, one person."""

_base_ = 'ntu60.py'
layout = 'kinect20'
num_classes = 27
dataset = dict(
    ann_file='data/utdmhad/utdmhad_3d.pkl',
    layout=layout,
    preprocess=[
        dict(type='CenterSkeleton'),
        dict(type='ResizeClip', length=25),
        dict(type='AlignShoulders'),
        dict(type='FormatGCNInput', num_person=1),
    ],
    hint='Make it with: python tools/prepare_data.py utd_mhad SOURCE (see docs/datasets.md)',
)
train_dataloader = dict(batch_size=64, dataset=dict(**dataset, split='xsub_train'))
val_dataloader = dict(batch_size=256, dataset=dict(**dataset, split=['xsub_train', 'xsub_val']))
test_dataloader = val_dataloader
