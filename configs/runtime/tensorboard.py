"""Log scalars to TensorBoard, too; `tensorboard --logdir WORK_DIR` shows them. An overlay."""

visualizer = dict(
    vis_backends=[*_base_.visualizer.vis_backends, dict(type='TensorboardVisBackend')]
)
