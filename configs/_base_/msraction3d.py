"""MSR Action3D, cross-subject: like UTD-MHAD, 20 Kinect v1 joints and one person."""

_base_ = 'utdmhad.py'
num_classes = 20
data = dict(
    ann_file='data/msraction3d/msraction3d_3d.pkl',
    hint='Make it with: python tools/prepare_data.py msr_action3d SOURCE (see docs/datasets.md)',
)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
