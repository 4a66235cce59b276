_base_ = 'skeletonclr_pkummdv1_xview_joint.py'
model = dict(data_preprocessor=dict(stream='motion'))
