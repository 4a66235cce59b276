"""Fusion of streams ("3s" in the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from aimclr_mm.models import STREAMS

from .neighbors import knn
from .results import FeatureSet, ScoreSet

AnySet = TypeVar('AnySet', FeatureSet, ScoreSet)


def check_weights(weights: Sequence[float], count: int) -> None:
    """Raise ValueError unless there is one finite, non-negative weight per stream, one above 0."""
    valid = len(weights) == count and np.isfinite(weights).all() and min(weights) >= 0
    if not valid or not any(weights):
        raise ValueError(
            f'weights {list(weights)} must be finite, not negative and not all zero, one for each '
            f'of {count} streams'
        )


def check_same_sequences(sets: Sequence[AnySet]) -> None:
    """Raise ValueError unless all streams have the same sequences, labels and gallery, in order."""
    first = sets[0]
    for position, other in enumerate(sets[1:], start=2):
        same_names = np.array_equal(first.names, other.names)
        if not (same_names and np.array_equal(first.labels, other.labels)):
            raise ValueError(
                f'file {position} is of other sequences than file 1 ({len(other.names)} and '
                f'{len(first.names)}); all must come from the same split of the same data set'
            )
        if isinstance(first, FeatureSet) and not np.array_equal(first.gallery, other.gallery):
            raise ValueError(
                f'file {position} has another gallery than file 1; all must come from the same '
                'evaluation'
            )


def fuse(sets: Sequence[AnySet], weights: Sequence[float] | None = None) -> AnySet:
    """Fuse the streams of one evaluation ("Experimental Settings").

    Logits are summed with the weights of the streams. Features are concatenated, each stream as a
    unit vector times the square root of its weight, so that the cosine similarity of the result is
    the weighted mean of the cosine similarities of the streams.

    Args:
        sets: one per stream, of the same sequences in the same order.
        weights: weights of the streams; all equal if not given.

    Raises:
        ValueError: if the sets differ in their sequences or classes, or the weights are invalid.
    """
    weights = [1.0] * len(sets) if weights is None else list(weights)
    check_weights(weights, len(sets))
    check_same_sequences(sets)

    if isinstance(sets[0], FeatureSet):
        parts = []
        for weight, stream in zip(weights, sets):
            norm = np.linalg.norm(stream.features, axis=1, keepdims=True).clip(1e-12)
            parts.append(np.sqrt(weight) * stream.features / norm)
        return replace(sets[0], features=np.concatenate(parts, axis=1).astype(np.float32))

    shapes = [stream.scores.shape for stream in sets]
    if len(set(shapes)) > 1:
        raise ValueError(f'scores of shapes {shapes} cannot be fused')
    fused = sum(weight * stream.scores for weight, stream in zip(weights, sets))
    return replace(sets[0], scores=fused)


def fuse_files(
    paths: Sequence[str], weights: Sequence[float] | None = None, k: Sequence[int] | None = None
) -> dict[str, float]:
    """Return the accuracy of fused streams in percent, from files of ``tools/test.py --dump``.

    Args:
        paths: score files or feature files of the same sequences, one per stream.
        weights: one per file; if not given, those of the paper for joint, bone and motion.
        k: numbers of neighbors, for feature files; 1 if not given.

    Returns:
        ``fused/top1`` and ``fused/top5`` of summed logits (score files), or ``fused/knn/...`` of
        KNN with summed cosine similarities (feature files).

    Raises:
        ValueError: if the files do not match, or weights are missing.
    """
    if weights is None:
        if len(paths) != len(STREAMS):
            raise ValueError(
                f'{len(paths)} files: give as many --weights; the paper has weights for three '
                'streams only'
            )
        weights = list(STREAMS.values())
    check_weights(weights, len(paths))

    if FeatureSet.is_file(paths[0]):
        fused = fuse([FeatureSet.load(path) for path in paths], weights)
        metrics = knn(fused, 1 if k is None else k)
        return {f'fused/knn/{name}': value for name, value in metrics.items()}

    if k is not None:
        raise ValueError(
            f'{paths[0]!r} is not a feature file, and --k is for those: leave it out, or give '
            'features.npz'
        )
    scores = fuse([ScoreSet.load(path) for path in paths], weights)
    return {f'fused/top{n}': scores.accuracy(n) for n in (1, 5)}
