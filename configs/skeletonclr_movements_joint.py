"""The encoder `generated-joint`: SkeletonCLR on pairs of performances of random movements."""

_base_ = ['_base_/default_runtime.py', '_base_/skeletonclr_movements.py', '_base_/movements.py']
# A short training with mild views; the embedding of a longer one is worth less on other data.
normal = [
    dict(type='TemporalCrop', padding_ratio=6),
    dict(type='Shear', amplitude=0.2),
    dict(type='Rotate', main_degrees=15, other_degrees=5),
]

model = dict(
    data_preprocessor=dict(layout=_base_.layout, query=normal, key=normal),
    backbone=dict(layout=_base_.layout),
)
train_dataloader = dict(dataset=dict(length=140800, family=1))
optim_wrapper = dict(optimizer=dict(lr=0.3))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='CosineAnnealingLR', T_max=1, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(interval=1))
