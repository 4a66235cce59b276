"""The encoder `generated-motion`."""

_base_ = ['_base_/default_runtime.py', '_base_/skeletonclr_movements.py', '_base_/movements.py']
model = dict(
    data_preprocessor=dict(layout=_base_.layout, stream='motion'),
    backbone=dict(layout=_base_.layout),
)
default_hooks = dict(checkpoint=dict(interval=1))
