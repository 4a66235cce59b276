"""Semi-supervised protocol: finetuning with a class-balanced share of the labels. An overlay for finetune.py.

python tools/train.py CONFIG --with configs/protocols/finetune.py configs/protocols/semi.py --pretrained CHECKPOINT
    --cfg-options train_dataloader.dataset.fraction=0.01 train_dataloader.dataset.fraction_seed=0
"""
train_dataloader = dict(batch_size=16, dataset=dict(fraction=0.1, fraction_seed=0))
