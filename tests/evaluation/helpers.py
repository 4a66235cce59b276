"""Feature sets and score sets for tests of evaluation and of files of results."""

from pathlib import Path

import numpy as np
import torch

from aimclr_mm.evaluation import FeatureSet, ScoreSet
from aimclr_mm.evaluation.knn_curve import Point

# KNN accuracies of two runs, one of them also computed from its checkpoints
POINTS = [
    Point('A', 2, 1, 30.0, 'logged'),
    Point('A', 4, 1, 40.0, 'logged'),
    Point('A', 4, 20, 45.0, 'logged'),
    Point('A', 4, 20, 46.0, 'checkpoint'),
    Point('A', 4, 1, 41.0, 'checkpoint'),
    Point('B', 6, 1, 20.0, 'logged'),
    Point('B', 6, 20, 21.0, 'logged'),
]


def noisy_features(seed: int = 0) -> FeatureSet:
    """60 gallery and 25 query features of 7 overlapping classes."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(60) % 7, np.arange(25) % 7])
    centers = rng.normal(size=(7, 12))
    features = centers[labels] + 1.5 * rng.normal(size=(85, 12))
    names = np.array([f's{i}' for i in range(85)])
    return FeatureSet(features.astype(np.float32), labels, np.arange(85) < 60, names)


def feature_set(gallery, gallery_labels, queries, labels) -> FeatureSet:
    """Join gallery and queries, given as tensors or lists."""
    parts = [torch.as_tensor(part, dtype=torch.float32) for part in (gallery, queries)]
    targets = [torch.as_tensor(part) for part in (gallery_labels, labels)]
    count = len(parts[0]) + len(parts[1])
    return FeatureSet(
        torch.cat(parts).numpy(),
        torch.cat(targets).numpy(),
        np.arange(count) < len(parts[0]),
        np.array([f's{i}' for i in range(count)]),
    )


def stream_features(n: int = 30, width: int = 5, classes: int = 4, seed: int = 0) -> FeatureSet:
    """Noisy features, two thirds gallery; labels and names do not depend on the seed."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centers = np.random.default_rng(seed + 100).normal(size=(classes, width))
    features = centers[labels] + 1.2 * rng.normal(size=(n, width))
    features *= rng.uniform(0.1, 9, (n, 1))
    names = np.array([f's{i}' for i in range(n)])
    return FeatureSet(features.astype(np.float32), labels, np.arange(n) % 3 != 0, names)


def stream_scores(n: int = 40, classes: int = 7, seed: int = 0) -> ScoreSet:
    """Logits; labels and names do not depend on the seed."""
    scores = np.random.default_rng(seed).normal(size=(n, classes))
    labels = np.arange(n) % classes
    scores[np.arange(n), labels] += 0.8
    return ScoreSet(scores.astype(np.float32), labels, np.array([f's{i}' for i in range(n)]))


def save_all(folder: Path, sets) -> list[str]:
    """Save sets as ``0.npz``, ``1.npz``, ...; return the paths."""
    paths = [str(folder / f'{i}.npz') for i in range(len(sets))]
    for path, one in zip(paths, sets):
        one.save(path)
    return paths
