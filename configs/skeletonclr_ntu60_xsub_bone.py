_base_ = 'skeletonclr_ntu60_xsub_joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
