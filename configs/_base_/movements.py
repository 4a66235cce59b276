"""Random movements, generated while training: one person of NTU's 25 joints, 32 frames."""

_base_ = 'ntu60.py'
layout = 'ntu25'
num_classes = 100
frames = 32
preprocess = [dict(type='CenterSkeleton'), dict(type='AlignShoulders')]

# An epoch is 102,400 pairs; no movement is ever drawn twice.
train_dataloader = dict(
    batch_size=512,
    sampler=dict(shuffle=False),  # for the families
    dataset=dict(
        _delete_=True,
        type='RandomMovements',
        length=102400,
        family=4,
        frames=frames,
        layout=layout,
        preprocess=preprocess,
    ),
)

# Held-out movements: does the encoder find other performances of the same program?
dataset = dict(
    ann_file='data/movements/movements_3d.pkl',
    preprocess=[
        dict(type='CenterSkeleton'),
        dict(type='ResizeClip', length=frames),
        dict(type='AlignShoulders'),
        dict(type='FormatGCNInput', num_person=1),
    ],
    hint='Make it with: python tools/prepare_data.py movements',
)
val_dataloader = dict(batch_size=256, dataset=dict(**dataset, split=['xsub_train', 'xsub_val']))
test_dataloader = val_dataloader
