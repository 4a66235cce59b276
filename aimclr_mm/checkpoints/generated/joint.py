"""Encoder `generated-joint`; trained with configs/skeletonclr_movements_joint.py."""

default_scope = 'mmaction'
custom_imports = dict(imports=['aimclr_mm'], allow_failed_imports=False)
layout = 'ntu25'

model = dict(
    type='SkeletonCLR',
    data_preprocessor=dict(type='SkeletonViews', layout=layout, stream='joint'),
    backbone=dict(
        type='FastSTGCN',
        layout=layout,
        in_channels=3,
        base_channels=8,
        out_channels=128,
        tcn_dropout=0.0,
    ),
    head=dict(type='ProjectionHead', in_channels=128, hidden_channels=128, out_channels=128),
    queue_length=4096,
    temperature=0.1,
    momentum=0.99,
    readout='equal_motion',
)
test_dataloader = dict(
    batch_size=256,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_skeletons'),
    dataset=dict(
        type='SkeletonDataset',
        ann_file='',
        layout=layout,
        preprocess=[
            dict(type='CenterSkeleton', layout=layout),
            dict(type='ResizeClip', length=32, layout=layout),
            dict(type='AlignShoulders', layout=layout),
            dict(type='FormatGCNInput', num_person=2),
        ],
        pipeline=[dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role'))],
        test_mode=True,
    ),
)
