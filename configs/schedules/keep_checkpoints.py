"""Keep six evenly spaced checkpoints, for accuracy over training (Figure 3). An overlay."""

default_hooks = dict(
    checkpoint=dict(interval=max(_base_.train_cfg.max_epochs // 6, 1), max_keep_ckpts=-1)
)
