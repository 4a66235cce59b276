_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/pkummdv1.py']
model = dict(data_preprocessor=dict(layout=_base_.layout), backbone=dict(layout=_base_.layout))
