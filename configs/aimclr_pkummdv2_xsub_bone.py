_base_ = 'aimclr_pkummdv2_xsub_joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
