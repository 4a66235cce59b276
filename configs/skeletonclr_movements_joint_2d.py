"""The encoder `generated-coco17`: random movements as poses in pictures, with scores."""

_base_ = 'skeletonclr_movements_joint.py'
layout = 'coco17'
preprocess = [dict(type='NormalizePose')]
train_dataloader = dict(dataset=dict(layout=layout, preprocess=preprocess))

dataset = dict(
    ann_file='data/movements/movements_2d.pkl',
    layout=layout,
    preprocess=[
        dict(type='ResizeClip', length=_base_.frames),
        dict(type='NormalizePose'),
        dict(type='FormatGCNInput', num_person=1),
    ],
    hint='Make it with: python tools/prepare_data.py movements --layout coco17 '
    '--out data/movements/movements_2d.pkl',
)
val_dataloader = dict(dataset=dict(**dataset))
test_dataloader = val_dataloader
model = dict(data_preprocessor=dict(layout=layout), backbone=dict(layout=layout))
