"""2-D poses: x and y are augmented, the score is a third channel. AlignShoulders needs three coordinates."""

_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/ntu60_2d.py']
model = dict(data_preprocessor=dict(layout='coco17'), backbone=dict(layout='coco17', in_channels=3))
