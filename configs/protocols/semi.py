"""Semi-supervised protocol: finetuning with a fraction of the labels of each class. An overlay.

python tools/train.py CONFIG --with configs/protocols/finetune.py configs/protocols/semi.py
    --pretrained CHECKPOINT
    --cfg-options train_dataloader.dataset.fraction=0.01 train_dataloader.dataset.fraction_seed=0
"""

param_scheduler = [dict(type='CosineAnnealingLR', T_max=100, by_epoch=True)]
train_cfg = dict(max_epochs=100, val_interval=10)
train_dataloader = dict(batch_size=16, dataset=dict(fraction=0.1, fraction_seed=0))
