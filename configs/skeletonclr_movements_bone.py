"""The encoder `generated-bone`."""

_base_ = 'skeletonclr_movements_joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
