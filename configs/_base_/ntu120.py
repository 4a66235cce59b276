"""NTU RGB+D 120, cross-subject."""

_base_ = 'ntu60.py'
num_classes = 120
data = dict(
    ann_file='data/ntu120/ntu120_3d.pkl',
    hint='Make it with: python tools/prepare_data.py ntu120 SOURCE (see docs/datasets.md)',
)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
