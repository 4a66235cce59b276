"""The encoder `generated-joint`: SkeletonCLR on pairs of performances of random movements."""

_base_ = [
    '_base_/default_runtime.py',
    '_base_/skeletonclr_movements_small.py',
    '_base_/movements.py',
]
model = dict(
    data_preprocessor=dict(layout=_base_.layout),
    backbone=dict(layout=_base_.layout),
)
train_dataloader = dict(batch_size=128, dataset=dict(length=64000, family=1))
default_hooks = dict(checkpoint=dict(interval=1))
