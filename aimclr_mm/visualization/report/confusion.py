"""Confusion matrix and per-class results of a classifier; stratified subsets for plots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aimclr_mm.evaluation.results import ScoreSet


@dataclass
class ClassResult:
    """How the sequences of one class were classified.

    Args:
        label: the class.
        count: number of its sequences.
        correct: number of correctly classified sequences.
        confused: the other class that was predicted most often, and how often; None if none was.
    """

    label: int
    count: int
    correct: int
    confused: tuple[int, int] | None

    @property
    def accuracy(self) -> float | None:
        """Accuracy in percent; None for a class without sequences."""
        return 100.0 * self.correct / self.count if self.count else None


def confusion_matrix(scores: ScoreSet) -> np.ndarray:
    """Return the counts (K, K): rows are true classes, columns the classes of highest score."""
    from sklearn.metrics import confusion_matrix as count_confusions  # here: a slow import

    classes = range(scores.scores.shape[1])
    return count_confusions(scores.labels, scores.scores.argmax(axis=1), labels=classes)


def per_class(confusion: np.ndarray) -> list[ClassResult]:
    """Return the results of all K classes of a confusion matrix (K, K)."""
    errors = confusion * ~np.eye(len(confusion), dtype=bool)
    results = []
    for label, row in enumerate(errors):
        other = int(row.argmax())
        confused = (other, int(row[other])) if row[other] else None
        count, correct = int(confusion[label].sum()), int(confusion[label, label])
        results.append(ClassResult(label, count, correct, confused))
    return results


def confused_pairs(confusion: np.ndarray, limit: int = 12) -> list[tuple[int, int, int, float]]:
    """Return the most frequent errors.

    Args:
        confusion: (K, K) confusion matrix.
        limit: largest number of errors to return.

    Returns:
        (true class, predicted class, count, share of the true class in percent), the most frequent
        first; equally frequent ones ordered by share.
    """
    rows, columns = np.nonzero(confusion * ~np.eye(len(confusion), dtype=bool))
    counts = confusion[rows, columns]
    shares = 100.0 * counts / confusion.sum(axis=1)[rows]
    order = np.lexsort((columns, rows, -shares, -counts))[:limit]
    return [(int(rows[i]), int(columns[i]), int(counts[i]), float(shares[i])) for i in order]


def stratified_subset(labels: np.ndarray, limit: int, seed: int = 0) -> np.ndarray:
    """Return ascending indices of at most ``limit`` sequences, each class in proportion.

    Args:
        labels: (N,) classes.
        limit: largest number of sequences.
        seed: seed of the draw within a class.
    """
    if len(labels) <= limit:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind='stable')]
    return np.sort(by_class[np.arange(limit) * len(labels) // limit])
