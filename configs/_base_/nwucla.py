"""NW-UCLA, cross-view: like UTD-MHAD, 20 Kinect v1 joints and one person, but 50 frames."""

_base_ = 'utdmhad.py'
num_classes = 10
data = dict(
    ann_file='data/nwucla/nwucla_3d.pkl',
    preprocess=[
        dict(p, length=50) if p['type'] == 'ResizeClip' else p for p in _base_.dataset.preprocess
    ],
    hint='Make it with: python tools/prepare_data.py nw_ucla SOURCE (see docs/datasets.md)',
)
train_dataloader = dict(dataset=dict(**data, split='xview_train'))
val_dataloader = dict(dataset=dict(**data, split=['xview_train', 'xview_val']))
test_dataloader = val_dataloader
