_base_ = 'skeletonclr_pkummdv1_xsub_joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
