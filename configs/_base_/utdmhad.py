"""UTD-MHAD, cross-subject: 20 Kinect v1 joints, one person."""
layout = 'kinect20'
pipeline = [
    dict(type='CenterSkeleton', layout=layout),
    dict(type='ResizeClip', length=25, layout=layout),
    dict(type='AlignShoulders', layout=layout),
    dict(type='FormatGCNInput', num_person=1),
    dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role')),
]
dataset = dict(
    type='SkeletonDataset',
    ann_file='data/utdmhad/utdmhad_3d.pkl',
    layout=layout,
    pipeline=pipeline,
    hint='Make it with: python tools/prepare_data.py utd_mhad SOURCE --out data/utdmhad/utdmhad_3d.pkl')
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='xsub_train'))
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split=['xsub_train', 'xsub_val'], test_mode=True))
test_dataloader = val_dataloader
