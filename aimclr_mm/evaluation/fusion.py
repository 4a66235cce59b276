"""Fusion of streams ("3s" in the paper), from the files that tools/test.py --dump writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aimclr_mm.models import STREAMS

from .knn import KNNMetric
from .results import FeatureSet, ScoreSet


def fuse_files(
    paths: Sequence[str], weights: Sequence[float] | None = None, k: Sequence[int] | None = None
) -> dict[str, float]:
    """Accuracy of the fused streams in per cent.

    Args:
        paths: score files or feature files of the same sequences, one a stream.
        weights: one a file; those of the paper if there are three files, in the order joint, bone, motion.
        k: numbers of neighbours, for feature files; 1 if not given.

    Returns:
        ``fused/top1`` and ``fused/top5`` of the weighted sum of logits (score files), or ``fused/knn/...`` of nearest
        neighbours by the weighted sum of cosine similarities (feature files).

    Raises:
        ValueError: if the files do not go together, or weights are missing.
    """
    if weights is None:
        if len(paths) != len(STREAMS):
            raise ValueError(
                f'{len(paths)} files: give as many --weights; only three have the weights of the paper'
            )
        weights = list(STREAMS.values())
    if len(weights) != len(paths):
        raise ValueError(f'{len(paths)} files need as many weights, not {len(weights)}')
    if not np.isfinite(weights).all() or min(weights) < 0 or not any(weights):
        raise ValueError(f'weights {list(weights)} must be finite, not negative and not all zero')
    if FeatureSet.is_file(paths[0]):
        fused = FeatureSet.concat([FeatureSet.load(path) for path in paths], weights)
        metrics = KNNMetric(k=[1] if k is None else list(k)).evaluate_features(fused)
        return {f'fused/knn/{name}': value for name, value in metrics.items()}
    if k is not None:
        raise ValueError(
            f'{paths[0]!r} is no feature file, and --k is for those: leave it out, or give features.npz'
        )
    scores = ScoreSet.fuse([ScoreSet.load(path) for path in paths], weights)
    return {f'fused/top{k}': scores.accuracy(k) for k in (1, 5)}
