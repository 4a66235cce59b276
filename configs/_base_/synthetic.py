"""Synthetic actions, across views: NTU's 25 joints, two people; made by tools/prepare_data.py synthetic."""
pipeline = [
    dict(type='CenterSkeleton', layout='ntu25'),
    dict(type='ResizeClip', length=24, layout='ntu25'),
    dict(type='AlignShoulders', layout='ntu25'),
    dict(type='FormatGCNInput', num_person=2),
    dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role')),
]
dataset = dict(
    type='SkeletonDataset',
    ann_file='data/synthetic/synthetic_3d.pkl',
    layout='ntu25',
    pipeline=pipeline,
    hint='Make it with: python tools/prepare_data.py synthetic --out data/synthetic/synthetic_3d.pkl')
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='xsub_train'))
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split=['xsub_train', 'xsub_val'], test_mode=True))
test_dataloader = val_dataloader
