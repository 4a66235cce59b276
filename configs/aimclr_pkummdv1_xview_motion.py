_base_ = 'aimclr_pkummdv1_xview_joint.py'
model = dict(data_preprocessor=dict(stream='motion'))
