"""As the released code, where it differs from the paper (see the table of deviations in the README)."""

_base_ = 'aimclr_ntu60_xsub_joint.py'
extreme = [
    *_base_.normal,
    dict(type='SpatialFlip', p=0.5),
    dict(type='Rotate', main_degrees=30, other_degrees=1),
    dict(type='GaussianNoise', std=0.01, p=0.5),
    dict(type='GaussianBlur', sigma=(0.1, 2), taps=15, normalized=False, p=0.5),
    dict(type='AxisMask', p=0.5),
]
model = dict(
    data_preprocessor=dict(extreme=extreme),
    eadm=dict(unbiased=True),
    mining_reduction='mean',
    init='released',
)
