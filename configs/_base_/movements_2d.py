"""Random movements as poses in pictures: 17 joints of COCO in pixels, with scores."""

_base_ = 'movements.py'
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
