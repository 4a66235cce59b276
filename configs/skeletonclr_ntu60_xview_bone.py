_base_ = 'skeletonclr_ntu60_xview_joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
