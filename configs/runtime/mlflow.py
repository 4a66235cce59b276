"""Log scalars to MLflow, too; `mlflow ui` shows them. An overlay."""

visualizer = dict(vis_backends=[*_base_.visualizer.vis_backends, dict(type='MLflowVisBackend')])
