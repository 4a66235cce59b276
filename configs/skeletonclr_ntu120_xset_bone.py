_base_ = 'skeletonclr_ntu120_xset_joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
