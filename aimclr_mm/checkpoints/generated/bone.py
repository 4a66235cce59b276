"""Encoder `generated-bone`; trained with configs/skeletonclr_movements_bone.py."""

_base_ = 'joint.py'
model = dict(data_preprocessor=dict(stream='bone'))
