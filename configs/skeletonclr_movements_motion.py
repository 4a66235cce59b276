"""The encoder `generated-motion`."""

_base_ = 'skeletonclr_movements_joint.py'
model = dict(data_preprocessor=dict(stream='motion'))
