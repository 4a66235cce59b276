"""Finetune protocol: the whole network and a linear classifier, trained with labels. An overlay.

python tools/train.py CONFIG --with configs/protocols/finetune.py --pretrained CHECKPOINT

Without --pretrained it is supervised training from scratch.

The paper gives no settings for this protocol: learning rate, schedule and epochs are ours.
"""

views = {k: v for k, v in _base_.model.data_preprocessor.items() if k not in ('key', 'extreme')}
model = dict(
    _delete_=True,
    type='RecognizerGCN',
    data_preprocessor=dict(views, type='LabeledViews'),
    backbone=_base_.model.backbone,
    cls_head=dict(
        type='SkeletonHead',
        num_classes=_base_.num_classes,
        in_channels=_base_.model.head.in_channels,
        average_clips='score',
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=50, by_epoch=True)]
train_cfg = dict(max_epochs=50, val_interval=5)
train_dataloader = dict(
    drop_last=False, dataset=dict(num_classes=_base_.num_classes, batched=False)
)
test_dataloader = dict(dataset=dict(num_classes=_base_.num_classes, batched=False))
test_evaluator = [dict(type='ClassifierMetric')]
if _base_.val_dataloader is not None:  # None where data have no validation split
    test_dataloader['dataset']['split'] = _base_.val_dataloader.dataset.split[1]
    val_dataloader = test_dataloader
    val_evaluator = test_evaluator
custom_hooks = [dict(type='EpochSeedHook'), dict(type='PlainCheckpointHook')]
