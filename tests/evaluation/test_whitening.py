"""Whitening of embeddings by the mutual nearest neighbors of a gallery."""

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power
from scipy.spatial.distance import cdist

from aimclr_mm.apis import nearest
from aimclr_mm.evaluation.neighbors import knn
from aimclr_mm.evaluation.results import FeatureSet
from aimclr_mm.evaluation.similarity import mutual_neighbors
from aimclr_mm.evaluation.whitening import FEW, FLOOR, whiten, whitening


def rows(n: int, channels: int, seed: int = 0) -> torch.Tensor:
    """Return embeddings that vary in some directions much more than in others, around a mean."""
    rng = np.random.default_rng(seed)
    spread = np.geomspace(1, 0.01, channels)
    mixing = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    return torch.from_numpy(rng.normal(size=(n, channels)) * spread @ mixing + 3)


def pairs_of(x: np.ndarray, k: int) -> list[tuple[int, int]]:
    """Return the mutual k nearest neighbors by cosine, by comparing all rows."""
    distance = cdist(x, x, 'cosine')
    np.fill_diagonal(distance, np.inf)
    nearest_of = [set(row) for row in distance.argsort(axis=1)[:, :k]]
    n = range(len(x))
    return [(i, j) for i in n for j in n if i < j and i in nearest_of[j] and j in nearest_of[i]]


@pytest.mark.parametrize('n, k', [(60, 3), (60, 1), (5, 3), (3, 5)])
def test_mutual_neighbors_equal_those_of_all_distances(n, k):
    x = rows(n, 6)
    expected = pairs_of(x.numpy(), min(k, n - 1))
    assert [tuple(pair) for pair in sorted(mutual_neighbors(x, k).tolist())] == expected


def test_equal_rows_are_neighbors_and_no_row_is_its_own():
    first, second = mutual_neighbors(torch.ones(4, 3), 2).unbind(dim=1)
    assert len(first) and (first < second).all()


@pytest.mark.parametrize('n, channels', [(200, 12), (12, 200), (2, 5)])
def test_matrix_is_the_inverse_root_of_the_covariance_of_pairs(n, channels):
    x = rows(n, channels)
    unit = (x / x.norm(dim=1, keepdim=True)).numpy()
    centered = unit - unit.mean(axis=0)
    first, second = np.transpose(pairs_of(centered, min(5, n - 1)))
    difference = centered[first] - centered[second]
    covariance = difference.T @ difference / len(first)
    floor = (FLOOR + FEW / n) * np.trace(covariance)
    expected = fractional_matrix_power(covariance + floor * np.eye(channels), -0.5)

    mean, matrix = (part.numpy() for part in whitening(x))
    np.testing.assert_allclose(mean, unit.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(matrix / matrix.max(), expected / expected.max(), atol=1e-8)
    np.testing.assert_allclose(((centered @ matrix) ** 2).sum(axis=1).mean(), 1)


@pytest.mark.parametrize('n', [2, 4, 30])
def test_few_recordings_hardly_weight_directions(n):
    _, matrix = whitening(rows(n, 50))
    largest, *_, smallest = torch.linalg.svdvals(matrix)
    assert 1 <= largest / smallest < (1 + n / FEW) ** 0.5


@pytest.mark.parametrize('recording', [torch.ones(4), torch.tensor([0.1, 0.3, 0.7, 0.2])])
def test_equal_recordings_are_only_centered(recording):
    gallery, queries = whiten(recording.expand(3, 4), torch.eye(4))
    assert gallery[:, :4].abs().max() < 1e-6
    torch.testing.assert_close(queries[:, :4], torch.eye(4) - recording / recording.norm())


def test_whitened_embeddings_are_transformed_ones_and_a_constant():
    gallery, queries = rows(30, 6), rows(9, 6, seed=1)
    mean, matrix = whitening(gallery)
    found = whiten(gallery.float(), queries.float())
    for part, whitened in zip((gallery, queries), found):
        unit = part / part.norm(dim=1, keepdim=True)
        expected = torch.cat([(unit - mean) @ matrix, torch.full((len(part), 1), 0.5)], dim=1)
        torch.testing.assert_close(whitened, expected.float(), atol=1e-4, rtol=1e-4)


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
    assert knn(features, k=1, whitened=True)['top1'] > knn(features, k=1)['top1'] + 10

    gallery, queries = features.features[:200], features.features[200:]
    found = nearest(queries, gallery, k=1, whitened=True).indices[:, 0]
    accuracy = 100 * (features.labels[:200][found] == features.labels[200:]).mean()
    assert accuracy == pytest.approx(knn(features, k=1, whitened=True)['top1'])
