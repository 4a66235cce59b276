"""What the evaluators share: features computed once, a gallery (training split) and queries (test split)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from .results import FeatureSet, ScoreSet


def top_k_accuracy(scores: Tensor, labels: Tensor, k: int) -> float:
    """Share, in per cent, of the N queries whose label is among the k classes of highest score.

    Args:
        scores: (N, classes).
        labels: (N,).
        k: more than there are classes counts as all of them.
    """
    top = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return 100.0 * (top == labels[:, None]).any(dim=1).float().mean().item()


class FeatureMetric(BaseMetric):
    """Collects the representations of gallery and queries and scores them at the end.

    The data samples carry ``feature`` (set by the model), ``gt_label`` and ``role``, ``gallery`` or ``query`` (set by
    :class:`~aimclr_mm.datasets.SkeletonDataset`).

    Args:
        device: device on which :meth:`score` runs; None takes a GPU where there is one.
        collect_device, prefix: see mmengine's ``BaseMetric``.
    """

    def __init__(
        self, device: str | None = None, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        self.device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].split(':')[0]
            raise ValueError(
                f"{type(self).__name__}: device={device!r} cannot be used here ({reason}); take 'cpu', or "
                'None for a GPU where there is one'
            ) from error
        self.scores: Tensor | None = (
            None  # (Q, classes) of the last call of score(), where the metric has any
        )

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps feature, label, role and name of each sample."""
        for sample in data_samples:
            if 'gt_label' not in sample:
                raise ValueError(
                    f'{type(self).__name__} needs labels, but a sample of the evaluation data has none'
                )
            self.results.append(
                (
                    sample['feature'],
                    int(sample['gt_label']),
                    sample['role'] == 'gallery',
                    str(sample.get('frame_dir', '')),
                )
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores the collected samples."""
        features, labels, gallery, names = zip(*results)
        return self.evaluate_features(
            FeatureSet(
                torch.stack(features).numpy(),
                np.array(labels, dtype=np.int64),
                np.array(gallery),
                np.array(names),
            )
        )

    def evaluate_features(self, data: FeatureSet) -> dict[str, float]:
        """Splits features into gallery and queries and scores them.

        Raises:
            ValueError: if one of the two is empty or a feature is not finite.
        """
        kind, gallery = type(self).__name__, torch.from_numpy(data.gallery)
        if gallery.all() or not gallery.any():
            raise ValueError(
                f'{kind} needs a gallery and queries: give the evaluation data set a pair of splits, such as '
                "split=['xsub_train', 'xsub_val']"
            )
        features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
        if not torch.isfinite(features).all():
            broken = int((~torch.isfinite(features).all(dim=1)).sum())
            raise ValueError(
                f'{broken} of {len(features)} features are not finite; the encoder or its input is broken'
            )
        MMLogger.get_current_instance().info(
            f'{kind}: {int(gallery.sum())} gallery, {int((~gallery).sum())} query sequences'
        )
        features, labels, gallery = (
            tensor.to(self.device) for tensor in (features, labels, gallery)
        )
        return self.score(features[gallery], labels[gallery], features[~gallery], labels[~gallery])

    def score_set(self, data: FeatureSet) -> ScoreSet:
        """The class scores of the queries, after :meth:`evaluate_features`."""
        queries = ~data.gallery
        return ScoreSet(
            self.scores.float().cpu().numpy(), data.labels[queries], data.names[queries]
        )

    def score(
        self, gallery: Tensor, gallery_labels: Tensor, queries: Tensor, labels: Tensor
    ) -> dict[str, float]:
        """Metrics in per cent from (B, C) and (Q, C) features and their labels."""
        raise NotImplementedError


@METRICS.register_module()
class FeatureCollector(FeatureMetric):
    """Keeps the features instead of scoring them, in ``collected``."""

    default_prefix = 'features'
    collected: FeatureSet | None = None

    def evaluate_features(self, data: FeatureSet) -> dict[str, float]:
        """Number of sequences."""
        self.collected = data
        return dict(sequences=float(len(data.labels)))
