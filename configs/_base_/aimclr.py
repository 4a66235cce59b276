"""AimCLR: SkeletonCLR with an extreme view, EADM, D3M and, in the second stage, mining."""

_base_ = 'skeletonclr.py'
extreme = [
    *_base_.normal,
    dict(type='SpatialFlip', p=0.5),
    dict(type='Rotate', main_degrees=30, other_degrees=1),
    dict(type='GaussianNoise', std=0.01, p=0.5),
    dict(type='GaussianBlur', sigma=(0.1, 2), taps=15, p=0.5),
    dict(type='AxisMask', p=0.5),
    dict(type='TemporalFlip', p=0.5),
]

model = dict(
    type='AimCLR',
    data_preprocessor=dict(extreme=extreme),
    eadm=dict(type='EADM', keep_margin=0.7),
    topk=1,
)
custom_hooks = [*_base_.custom_hooks, dict(type='StageSwitchHook', epoch=150)]
