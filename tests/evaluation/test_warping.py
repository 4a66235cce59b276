"""Dynamic time warping against the definition, and on data whose answer is known."""

import numpy as np
import pytest

from aimclr_mm.evaluation import FeatureSet, dtw
from aimclr_mm.evaluation.warping import pose_paths, warped_distances


def by_definition(a: np.ndarray, b: np.ndarray, band: int) -> float:
    """The recursion of Sakoe and Chiba (1978), steps of equal weight, on squared distances."""
    costs = np.full((len(a) + 1, len(b) + 1), np.inf)
    costs[0, 0] = 0
    for i in range(len(a)):
        for j in range(max(0, i - band), min(len(b), i + band + 1)):
            best = min(costs[i, j], costs[i, j + 1], costs[i + 1, j])
            costs[i + 1, j + 1] = ((a[i] - b[j]) ** 2).sum() + best
    return np.sqrt(costs[-1, -1])


@pytest.mark.parametrize('band', [0, 2, 10])
def test_distances_follow_the_recursion(band):
    pytest.importorskip('dtaidistance')
    rng = np.random.default_rng(band)
    queries, gallery = rng.normal(size=(70, 9, 4)), rng.normal(size=(3, 9, 4))
    expected = [[by_definition(a, b, band) for b in gallery] for a in queries]
    np.testing.assert_allclose(warped_distances(queries, gallery, band), expected, rtol=1e-9)


def test_paths_do_not_depend_on_place_size_and_scores():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 2, 12, 5, 3))
    x[0, 1] = 0  # an absent person
    moved = np.where(
        x.any(axis=(3, 4), keepdims=True), 3 * x + rng.normal(size=(1, 1, 12, 1, 3)), 0
    )
    scored = np.concatenate([moved, rng.random((2, 2, 12, 5, 1))], axis=-1)
    scored[0, 1] = 0

    paths = pose_paths(x, dims=3)
    assert paths.shape == (2, 32, 2 * 5 * 3)
    np.testing.assert_allclose(pose_paths(scored, dims=3), paths, atol=1e-9)
    assert not paths[0].reshape(32, 2, 5, 3)[:, 1].any()
    means = paths.reshape(2, 32, 2, 5, 3)[:, :, 0].mean(axis=2)
    np.testing.assert_allclose(means, 0, atol=1e-9)  # of the first person
    np.testing.assert_array_equal(pose_paths(np.zeros_like(x), dims=3), 0)


def waves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bumps of four heights whose time is shifted and warped; flattened, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    time = np.linspace(0, 1, 40) ** rng.uniform(0.7, 1.4, (count, 1)) + rng.uniform(
        -0.1, 0.1, (count, 1)
    )
    x = np.zeros((count, 1, 40, 3, 2))
    x[:, 0, :, 1, 0] = 1
    x[:, 0, :, 2, 1] = (labels[:, None] + 1) * np.exp(-(((time - 0.5) / 0.08) ** 2))
    return x.reshape(count, -1).astype(np.float32), labels


def test_nearest_neighbor_of_warped_movements():
    pytest.importorskip('dtaidistance')
    (gallery, known), (queries, labels) = waves(40, 0), waves(20, 1)
    features = FeatureSet(
        np.concatenate([gallery, queries]),
        np.concatenate([known, labels]),
        np.arange(60) < 40,
        np.array([str(k) for k in range(60)]),
    )
    assert dtw(features, (1, 40, 3, 2), dims=2) == dict(top1=100.0)


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr('aimclr_mm.evaluation.warping.MAX_PAIRS', 799)
    x, labels = waves(60, 0)
    features = FeatureSet(x, labels, np.arange(60) < 40, labels.astype(str))
    with pytest.raises(ValueError, match='here 800 pairs; the limit is 799. Leave dtw out'):
        dtw(features, (1, 40, 3, 2), dims=2)
