"""Whitening of embeddings by a gallery."""

import numpy as np
import pytest
import torch

from aimclr_mm.apis import nearest
from aimclr_mm.evaluation.neighbors import knn
from aimclr_mm.evaluation.results import FeatureSet
from aimclr_mm.evaluation.whitening import whiten, whitening


def rows(n: int, channels: int, seed: int = 0) -> torch.Tensor:
    """Return embeddings that vary in some directions much more than in others, around a mean."""
    rng = np.random.default_rng(seed)
    spread = np.geomspace(1, 0.01, channels)
    mixing = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    return torch.from_numpy(rng.normal(size=(n, channels)) * spread @ mixing + 3)


@pytest.mark.parametrize('n, channels', [(200, 12), (12, 200), (2, 5)])
@pytest.mark.parametrize('shrinkage', [1.0, 0.1])
def test_matrix_is_the_inverse_root_of_the_shrunk_covariance(n, channels, shrinkage):
    x = rows(n, channels)
    unit = x / x.norm(dim=1, keepdim=True)
    covariance = torch.cov(unit.T, correction=0)
    floor = shrinkage * covariance.trace() / min(n - 1, channels)

    mean, matrix = whitening(x, shrinkage)
    torch.testing.assert_close(mean, unit.mean(dim=0))
    torch.testing.assert_close(matrix, matrix.T)
    shrunk = covariance + floor * torch.eye(channels, dtype=x.dtype)
    product = matrix @ shrunk @ matrix
    torch.testing.assert_close(product, torch.eye(channels, dtype=x.dtype), atol=1e-8, rtol=1e-8)


def test_equal_recordings_are_only_centered():
    gallery, queries = whiten(torch.ones(3, 4), torch.eye(4))
    assert gallery.abs().max() < 1e-6
    torch.testing.assert_close(queries, torch.eye(4) - 0.5)


def test_one_recording_is_too_few():
    with pytest.raises(ValueError, match='at least 2 recordings in the gallery, not 1'):
        whitening(torch.ones(1, 4))


def classes(seed: int = 0) -> FeatureSet:
    """Return features whose classes differ in a direction of little variance."""
    rng = np.random.default_rng(seed)
    labels = np.arange(400) % 2
    nuisance = rng.normal(size=(400, 3))
    signal = 0.15 * (2 * labels - 1) + rng.normal(0, 0.04, 400)
    features = np.c_[nuisance, signal, np.full(400, 4.0)].astype(np.float32)
    return FeatureSet(
        features, labels, np.arange(400) < 200, np.array([f'{i}' for i in range(400)])
    )


def test_neighbors_in_directions_of_little_variance_are_found():
    features = classes()
    assert knn(features, k=1, whitened=True)['top1'] > knn(features, k=1)['top1'] + 5

    gallery, queries = features.features[:200], features.features[200:]
    found = nearest(queries, gallery, k=1, whitened=True).indices[:, 0]
    accuracy = 100 * (features.labels[:200][found] == features.labels[200:]).mean()
    assert accuracy == pytest.approx(knn(features, k=1, whitened=True)['top1'])
