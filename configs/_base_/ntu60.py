"""NTU RGB+D 60, cross-subject, with the preprocessing of the paper.

The configs of the other data sets inherit from this one.
"""

layout = 'ntu25'
num_classes = 60
dataset = dict(
    type='SkeletonDataset',
    ann_file='data/ntu60/ntu60_3d.pkl',
    layout=layout,
    preprocess=[  # once; the result is kept in data/ntu60/cache
        dict(type='CenterSkeleton'),
        dict(type='ResizeClip', length=50),
        dict(type='AlignShoulders'),
        dict(type='FormatGCNInput', num_person=2),
    ],
    pipeline=[dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role'))],
    hint='Make it with: python tools/prepare_data.py ntu60 SOURCE (see docs/datasets.md)',
)
train_dataloader = dict(
    batch_size=128,
    num_workers=0,  # batches come from the cache as one array
    drop_last=True,
    sampler=dict(type='EvenSampler', shuffle=True),
    collate_fn=dict(type='collate_skeletons'),
    dataset=dict(**dataset, split='xsub_train', batched=True),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_skeletons'),
    dataset=dict(**dataset, split=['xsub_train', 'xsub_val'], test_mode=True, batched=True),
)
test_dataloader = val_dataloader
