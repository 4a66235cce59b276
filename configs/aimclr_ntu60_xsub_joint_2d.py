"""2-D poses: x and y are augmented, the score is passed through as a third channel."""

_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/ntu60_2d.py']
model = dict(
    data_preprocessor=dict(layout=_base_.layout), backbone=dict(layout=_base_.layout, in_channels=3)
)
