_base_ = 'aimclr_ntu60_xview_joint.py'
model = dict(data_preprocessor=dict(stream='motion'))
