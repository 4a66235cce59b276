"""What scores say about classes, and which sequences of many are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aimclr_mm.evaluation.results import ScoreSet


@dataclass
class ClassResult:
    """How the sequences of one class were classified.

    Args:
        label: the class.
        count: sequences of it.
        correct: how many were classified as it.
        confused: the other class that they were taken for most often, and how often; None if for none.
    """

    label: int
    count: int
    correct: int
    confused: tuple[int, int] | None

    @property
    def accuracy(self) -> float | None:
        """In per cent; None for a class without sequences."""
        return 100.0 * self.correct / self.count if self.count else None


def confusion_matrix(scores: ScoreSet) -> np.ndarray:
    """(K, K) numbers of sequences: row true class, column class of highest score (the first one of equal scores)."""
    classes = scores.scores.shape[1]
    cells = scores.labels.astype(np.int64) * classes + scores.scores.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class(confusion: np.ndarray) -> list[ClassResult]:
    """Results of all K classes of a confusion matrix (K, K), in their order."""
    results = []
    for label, row in enumerate(confusion):
        others = np.where(np.arange(len(row)) == label, -1, row)
        other = int(others.argmax())
        confused = (other, int(others[other])) if others[other] > 0 else None
        results.append(ClassResult(label, int(row.sum()), int(row[label]), confused))
    return results


def confused_pairs(confusion: np.ndarray, limit: int = 12) -> list[tuple[int, int, int, float]]:
    """The most frequent errors.

    Args:
        confusion: (K, K) confusion matrix.
        limit: how many at most.

    Returns:
        (true class, predicted class, number, share of the true class's sequences in per cent), most frequent first;
        of equally frequent ones that of larger share.
    """
    rows, columns = np.nonzero(confusion * ~np.eye(len(confusion), dtype=bool))
    counts, totals = confusion[rows, columns], confusion.sum(axis=1)
    shares = 100.0 * counts / totals[rows]
    order = np.lexsort((columns, rows, -shares, -counts))[:limit]
    return [(int(rows[i]), int(columns[i]), int(counts[i]), float(shares[i])) for i in order]


def stratified(labels: np.ndarray, limit: int, seed: int = 0) -> np.ndarray:
    """Indices, in ascending order, of at most ``limit`` of N sequences, every class in proportion.

    Args:
        labels: (N,) classes.
        limit: how many.
        seed: of the choice within a class.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind='stable')]
    return (
        np.sort(order[np.arange(limit) * len(labels) // limit])
        if len(labels) > limit
        else np.arange(len(labels))
    )
