"""PKU-MMD II, cross-subject; the labels are those of part I, of which 41 occur."""

_base_ = 'pkummdv1.py'
data = dict(
    ann_file='data/pkummdv2/pkummdv2_3d.pkl',
    hint='Make it with: python tools/prepare_data.py pku_mmd_v2 SOURCE (see docs/datasets.md)',
)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
