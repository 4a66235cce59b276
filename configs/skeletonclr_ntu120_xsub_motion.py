_base_ = 'skeletonclr_ntu120_xsub_joint.py'
model = dict(data_preprocessor=dict(stream='motion'))
