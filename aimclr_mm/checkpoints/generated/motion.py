"""Encoder `generated-motion`; trained with configs/skeletonclr_movements_motion.py."""

_base_ = 'joint.py'
model = dict(data_preprocessor=dict(stream='motion'))
