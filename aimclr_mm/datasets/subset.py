"""Class-balanced subsets of a training split ("Semi-supervised Evaluation Protocol")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def balanced_draw(labels: Sequence[int], fraction: float, seed: int = 0) -> np.ndarray:
    """Draw a subset with the class distribution of the whole set.

    Every class gets the integer part of its quota, but at least one sequence; the remainder of the
    total goes to the classes with the largest fractional parts (the largest remainder method).

    Args:
        labels: (N,) classes.
        fraction: share of the sequences to draw, in (0, 1].
        seed: seed of the draw; the same seed draws the same sequences on every machine.

    Returns:
        Sorted indices of round(fraction * N) sequences, or more, as each class keeps at least one.

    Raises:
        ValueError: if the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f'fraction={fraction}; the share of labels must be in (0, 1]')

    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = fraction * sizes
    counts = np.maximum(np.floor(quotas + 1e-9).astype(int), 1)

    # the largest remainders get one more each; ties are broken at random
    missing = int(np.floor(fraction * len(labels) + 0.5)) - counts.sum()
    remainders = np.where(counts < sizes, quotas - counts, -np.inf)
    for i in np.lexsort((rng.random(len(classes)), -remainders))[: max(missing, 0)]:
        counts[i] += counts[i] < sizes[i]

    drawn = [
        rng.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in zip(classes, counts)
    ]
    return np.sort(np.concatenate(drawn))
