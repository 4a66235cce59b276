"""An encoder of 2-D poses: SkeletonCLR on pairs of performances of random movements."""

_base_ = ['_base_/default_runtime.py', '_base_/skeletonclr_movements.py', '_base_/movements_2d.py']
model = dict(data_preprocessor=dict(layout=_base_.layout), backbone=dict(layout=_base_.layout))
default_hooks = dict(checkpoint=dict(interval=1))
