"""Class-balanced shares of a training split ("Semi-supervised Evaluation Protocol")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def balanced_draw(labels: Sequence[int], fraction: float, seed: int = 0) -> np.ndarray:
    """Draws a share of sequences in which the classes have the same shares as in all of them.

    Every class gets the whole part of its quota, at least one sequence; what is then missing of the total goes to the
    classes of largest remainder.

    Args:
        labels: (N,) classes.
        fraction: in (0, 1].
        seed: of the draw; the same seed draws the same sequences everywhere.

    Returns:
        Sorted indices of the drawn sequences: round(fraction * N) of them, more where small classes keep their one.

    Raises:
        ValueError: if the fraction does not lie in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f'fraction={fraction}; the share of labels must lie in (0, 1]')
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = fraction * sizes
    counts = np.maximum(np.floor(quotas + 1e-9).astype(int), 1)
    missing = int(np.floor(fraction * len(labels) + 0.5)) - counts.sum()
    remainders = np.where(counts < sizes, quotas - counts, -np.inf)
    for i in np.lexsort((rng.random(len(classes)), -remainders))[: max(missing, 0)]:
        counts[i] += counts[i] < sizes[i]
    chosen = [
        rng.permutation(np.flatnonzero(labels == c))[:count] for c, count in zip(classes, counts)
    ]
    return np.sort(np.concatenate(chosen))
