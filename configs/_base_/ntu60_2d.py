"""NTU RGB+D 60 as 2-D poses with scores: 17 COCO joints in pixels, mmaction2's ntu60_2d.pkl."""

_base_ = 'ntu60.py'
layout = 'coco17'
dataset = dict(
    ann_file='data/ntu60/ntu60_2d.pkl',
    layout=layout,
    preprocess=[
        dict(type='ResizeClip', length=50),
        dict(type='PreNormalize2D'),  # image coordinates to [-1, 1]
        dict(type='FormatGCNInput', num_person=2),
    ],
    hint='Download ntu60_2d.pkl from the skeleton data page of mmaction2 and put it there '
    '(see docs/datasets.md).',
)
train_dataloader = dict(dataset=dict(**dataset, split='xsub_train'))
val_dataloader = dict(dataset=dict(**dataset, split=['xsub_train', 'xsub_val']))
test_dataloader = val_dataloader
