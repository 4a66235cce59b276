_base_ = 'skeletonclr_pkummdv2_xsub_joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
