_base_ = 'aimclr_ntu60_xsub_joint.py'
data = dict(ann_file='data/pkummdv1/pkummdv1_3d.pkl',
            hint='Make it with: python tools/prepare_data.py pku_mmd_v1 SOURCE (see docs/datasets.md)')
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
