"""Log scalars to Weights & Biases, too (an account, or WANDB_MODE=offline). An overlay."""

visualizer = dict(vis_backends=[*_base_.visualizer.vis_backends, dict(type='WandbVisBackend')])
