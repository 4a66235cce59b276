"""Accuracy of a network that was trained with labels ("Finetune Protocol", "Semi-supervised Evaluation Protocol")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric

from .results import ScoreSet


@METRICS.register_module()
class ClassifierMetric(BaseMetric):
    """Top-1 and top-5 accuracy in per cent, ``acc/top1`` and ``acc/top5``; the scores stay in ``collected``.

    mmaction2's ``AccMetric`` gives shares instead of per cent, as no other evaluator here does, and keeps no scores.
    """

    default_prefix = 'acc'
    collected: ScoreSet | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps scores, label and name of each sample."""
        for sample in data_samples:
            self.results.append(
                (
                    sample['pred_score'].float().cpu().numpy(),
                    int(sample['gt_label']),
                    str(sample.get('frame_dir', '')),
                )
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Accuracy over all samples."""
        scores, labels, names = zip(*results)
        self.collected = ScoreSet(
            np.stack(scores), np.array(labels, dtype=np.int64), np.array(names)
        )
        return dict(top1=self.collected.accuracy(1), top5=self.collected.accuracy(5))
