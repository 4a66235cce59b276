"""Fusion of streams against loops, and sets that cannot be fused."""

import numpy as np
import pytest

from aimclr_mm.evaluation import ScoreSet, fuse
from aimclr_mm.evaluation.fusion import fuse_files

from .helpers import save_all, stream_features, stream_scores

# --- scores ---


@pytest.mark.parametrize('weights', [(0.6, 0.6, 0.4), (1, 0, 0), (2.0, 0.1, 3.5)])
def test_fused_logits_equal_a_loop(tmp_path, weights):
    sets = [stream_scores(seed=seed) for seed in range(3)]
    hits = dict.fromkeys((1, 5), 0)
    for i in range(40):
        row = [sum(w * float(s.scores[i, c]) for w, s in zip(weights, sets)) for c in range(7)]
        ranked = sorted(range(7), key=lambda c, row=row: -row[c])
        for k in hits:
            hits[k] += int(sets[0].labels[i]) in ranked[:k]
    expected = {f'fused/top{k}': pytest.approx(100 * hit / 40) for k, hit in hits.items()}
    assert fuse_files(save_all(tmp_path, sets), weights) == expected
    if weights == (0.6, 0.6, 0.4):
        assert (
            fuse_files(save_all(tmp_path, sets)) == expected
        )  # weights of the paper, in its order
        assert fuse_files(save_all(tmp_path, sets[::-1])) != expected


# --- features ---


@pytest.mark.parametrize('weights', [(0.6, 0.6, 0.4), (0.1, 2.0, 0.0)])
@pytest.mark.parametrize('k', [1, 3])
def test_fused_neighbors_equal_a_loop(tmp_path, weights, k):
    sets = [stream_features(60, width, seed=seed) for seed, width in enumerate((5, 3, 8))]
    gallery, queries = np.flatnonzero(sets[0].gallery), np.flatnonzero(~sets[0].gallery)

    hits = 0
    for q in queries:
        similarity = []
        for b in gallery:
            rows = [(s.features[q].astype(float), s.features[b].astype(float)) for s in sets]
            cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in rows]
            similarity.append(sum(w * cosine for w, cosine in zip(weights, cosines)))
        ranked = [int(sets[0].labels[b]) for _, b in sorted(zip(similarity, gallery))[::-1]]
        near = ranked[:k]
        vote = max(near, key=lambda c, near=near: (near.count(c), -near.index(c)))
        hits += vote == sets[0].labels[q]

    metrics = fuse_files(save_all(tmp_path, sets), weights, [k])
    assert metrics['fused/knn/top1'] == metrics[f'fused/knn/top1_k{k}']
    assert metrics['fused/knn/top1'] == pytest.approx(100 * hits / len(queries))
    assert 0 < hits < len(queries)


def test_concatenated_streams_have_the_mean_of_the_cosines():
    sets, weights = [stream_features(seed=seed) for seed in range(3)], (0.6, 0.6, 0.4)
    fused, equal = fuse(sets, weights).features, fuse(sets).features
    assert fused.dtype == np.float32 and fused.shape == (30, 15)

    def cosines(x):
        x = x / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
        return x @ x.T

    parts = [cosines(s.features) for s in sets]
    np.testing.assert_allclose(
        cosines(fused), sum(w * p for w, p in zip(weights, parts)) / 1.6, atol=1e-6
    )
    np.testing.assert_allclose(cosines(equal), sum(parts) / 3, atol=1e-6)


def test_feature_of_zeros_stays_finite():
    one = stream_features()
    one.features[4] = 0
    assert np.isfinite(fuse([one, stream_features(seed=1)], [0.5, 0.5]).features).all()


# --- sets that cannot be fused ---


@pytest.mark.parametrize('make', [stream_scores, stream_features])
@pytest.mark.parametrize('wrong', ['names', 'labels', 'order', 'fewer'])
def test_files_of_other_sequences(tmp_path, make, wrong):
    one, other = make(), make(seed=1)
    if wrong == 'names':
        other.names = np.array([f't{i}' for i in range(len(other.names))])
    elif wrong == 'labels':
        other.labels = (other.labels + 1) % 4
    else:
        rows = slice(None, None, -1) if wrong == 'order' else slice(0, -2)
        other = type(other)(*(value[rows] for value in vars(other).values()))
    with pytest.raises(ValueError, match='file 2 is of other sequences than file 1'):
        fuse_files(save_all(tmp_path, [one, other]), [1, 1])


def test_galleries_that_differ(tmp_path):
    one, other = stream_features(), stream_features(seed=1)
    other.gallery = ~other.gallery
    with pytest.raises(ValueError, match='gallery'):
        fuse_files(save_all(tmp_path, [one, other]), [1, 1])


def test_scores_of_other_numbers_of_classes(tmp_path):
    one = stream_scores()
    other = ScoreSet(np.zeros((40, 9), np.float32), one.labels, one.names)
    with pytest.raises(ValueError, match=r'\(40, 7\), \(40, 9\)'):
        fuse_files(save_all(tmp_path, [one, other]), [1, 1])


@pytest.mark.parametrize(
    'kinds', [(stream_scores, stream_features), (stream_features, stream_scores)]
)
def test_scores_and_features_cannot_be_mixed(tmp_path, kinds):
    with pytest.raises(ValueError, match='1.npz.*wanted are'):
        fuse_files(save_all(tmp_path, [kind(30) for kind in kinds]), [1, 1])


@pytest.mark.parametrize(
    'weights', [[1], [1, 1, 1], [1, -1], [0, 0], [1, float('nan')], [float('inf'), 1], []]
)
@pytest.mark.parametrize('make', [stream_scores, stream_features])
def test_invalid_weights(tmp_path, make, weights):
    with pytest.raises(ValueError, match='weights'):
        fuse_files(save_all(tmp_path, [make(), make(seed=1)]), weights)


@pytest.mark.parametrize('count', [1, 2, 4])
def test_weights_of_the_paper_are_for_three_files(tmp_path, count):
    with pytest.raises(ValueError, match=f'{count} files: give as many --weights'):
        fuse_files(save_all(tmp_path, [stream_scores(seed=i) for i in range(count)]))


@pytest.mark.parametrize(
    'k, message', [([0], 'at least 1'), ([], 'at least 1'), ([99], 'k=99.*only 20')]
)
def test_invalid_numbers_of_neighbors(tmp_path, k, message):
    with pytest.raises(ValueError, match=message):
        fuse_files(save_all(tmp_path, [stream_features(), stream_features(seed=1)]), [1, 1], k)
