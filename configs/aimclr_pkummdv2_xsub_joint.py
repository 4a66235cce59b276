_base_ = 'aimclr_pkummdv1_xsub_joint.py'
data = dict(ann_file='data/pkummdv2/pkummdv2_3d.pkl',
            hint='Make it with: python tools/prepare_data.py pku_mmd_v2 SOURCE (see docs/datasets.md)')
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
