"""NTU RGB+D 60, cross-subject, in mmaction2's pose format, with the preprocessing of the paper."""
pipeline = [
    dict(type='CenterSkeleton', layout='ntu25'),
    dict(type='ResizeClip', length=50, layout='ntu25'),
    dict(type='AlignShoulders', layout='ntu25'),
    dict(type='FormatGCNInput', num_person=2),
    dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role')),
]
dataset = dict(
    type='SkeletonDataset',
    ann_file='data/ntu60/ntu60_3d.pkl',
    layout='ntu25',
    pipeline=pipeline,
    hint='Download ntu60_3d.pkl from the skeleton data page of mmaction2 and put it there.')
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='xsub_train'))
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split=['xsub_train', 'xsub_val'], test_mode=True))
test_dataloader = val_dataloader
