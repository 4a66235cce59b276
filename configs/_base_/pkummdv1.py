"""PKU-MMD I, cross-subject."""

_base_ = 'ntu60.py'
num_classes = 51
data = dict(
    ann_file='data/pkummdv1/pkummdv1_3d.pkl',
    preprocess=[
        dict(p, surplus='both') if p['type'] == 'ResizeClip' else p
        for p in _base_.dataset.preprocess
    ],
    hint='Make it with: python tools/prepare_data.py pku_mmd_v1 SOURCE (see docs/datasets.md)',
)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
