"""Encoder `generated-coco17`; trained with configs/skeletonclr_movements_joint_2d.py."""

_base_ = 'joint.py'
layout = 'coco17'
model = dict(
    data_preprocessor=dict(layout=layout),
    backbone=dict(layout=layout, base_channels=16, out_channels=256),
    head=dict(in_channels=256, hidden_channels=256),
    queue_length=16384,
)
test_dataloader = dict(
    dataset=dict(
        layout=layout,
        preprocess=[
            dict(type='ResizeClip', length=32, layout=layout),
            dict(type='NormalizePose', scores=True, layout=layout),
            dict(type='FormatGCNInput', num_person=2),
        ],
    )
)
