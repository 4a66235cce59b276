_base_ = 'aimclr_pkummdv1_xsub_joint.py'
model = dict(data_preprocessor=dict(stream='motion'))
