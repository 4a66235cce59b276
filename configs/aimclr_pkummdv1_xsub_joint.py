_base_ = 'aimclr_ntu60_xsub_joint.py'
data = dict(ann_file='data/pkummdv1/pkummdv1_3d.pkl',
            hint='Make it with: python tools/prepare_data.py pku_mmd_v1 SOURCE (see docs/datasets.md)')
preprocess = [dict(p, surplus='both') if p['type'] == 'ResizeClip' else p for p in _base_.dataset.preprocess]
train_dataloader = dict(dataset=dict(**data, preprocess=preprocess))
val_dataloader = dict(dataset=dict(**data, preprocess=preprocess))
test_dataloader = val_dataloader
