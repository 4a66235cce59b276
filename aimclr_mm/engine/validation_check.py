"""Check before the first epoch that the validation can be computed."""

from __future__ import annotations

from mmengine.runner import Runner

from aimclr_mm.evaluation.metrics import ClassifierMetric, FeatureMetric


def check_validation(runner: Runner) -> None:
    """Raise ValueError if the validation lacks labels or a pair of splits."""
    if runner.val_loop is None:
        return
    dataset = runner.val_loop.dataloader.dataset
    metrics = [
        metric
        for metric in runner.val_loop.evaluator.metrics
        if isinstance(metric, (FeatureMetric, ClassifierMetric))
    ]
    unlabeled = getattr(dataset, 'unlabeled', None)  # of a SkeletonDataset
    if not metrics or unlabeled is None:
        return

    name = type(metrics[0]).__name__
    remedy = 'or train without validation (--no-validate)'
    if unlabeled:
        raise ValueError(
            f'{unlabeled} of {len(dataset)} sequences of val_dataloader have no label, which '
            f'{name} needs; label them, {remedy}'
        )
    if isinstance(metrics[0], FeatureMetric) and len(dataset.splits) != 2:
        raise ValueError(
            f'val_dataloader.dataset.split={dataset.splits[0]!r}, but {name} needs a gallery and '
            f"queries: give a pair of splits, such as ['xsub_train', 'xsub_val'], {remedy}"
        )
