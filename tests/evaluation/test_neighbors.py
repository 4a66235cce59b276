"""KNN against scikit-learn and loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from aimclr_mm.evaluation import FeatureSet, knn
from aimclr_mm.evaluation.neighbors import knn_votes

from .helpers import feature_set, noisy_features


@pytest.fixture
def features() -> FeatureSet:
    return noisy_features()


def scikit_learn(features: FeatureSet, k: int) -> KNeighborsClassifier:
    """Return the same classifier of scikit-learn, fitted."""
    gallery = features.gallery
    model = KNeighborsClassifier(k, metric='cosine', algorithm='brute')
    return model.fit(features.features[gallery], features.labels[gallery])


@pytest.mark.parametrize('k', [1, 2, 5, 20, 60])
def test_votes_equal_scikit_learn(features, k):
    gallery, gallery_labels, queries, _ = features.split()
    reference = scikit_learn(features, k)
    fractions = knn_votes(gallery, gallery_labels, queries, k) / k
    np.testing.assert_allclose(fractions, reference.predict_proba(queries.numpy()), atol=1e-6)
    if k == 1:
        assert np.array_equal(fractions.argmax(1), reference.predict(queries.numpy()))


@pytest.mark.parametrize('k', [1, 5])
def test_accuracy_equals_scikit_learn(features, k):
    gallery, gallery_labels, queries, labels = features.split()
    votes = np.round(scikit_learn(features, k).predict_proba(queries.numpy()) * k)
    unique = (votes == votes.max(1, keepdims=True)).sum(1) == 1  # ties are tested separately
    assert unique.sum() > 10

    metrics = knn(feature_set(gallery, gallery_labels, queries[unique], labels[unique]), k)
    expected = 100 * np.mean(votes[unique].argmax(1) == labels.numpy()[unique])
    assert metrics['top1'] == pytest.approx(expected) and metrics[f'top1_k{k}'] == metrics['top1']
    assert 0 < expected < 100


def test_weighted_votes_equal_a_loop(features):
    gallery, gallery_labels, queries, _ = features.split()
    votes = knn_votes(gallery, gallery_labels, queries, 5, weighted=True, temperature=0.2)
    for query, row in zip(queries, votes):
        cosines = [float(query @ b / query.norm() / b.norm()) for b in gallery]
        expected = np.zeros(7)
        for i in sorted(range(len(gallery)), key=lambda i: -cosines[i])[:5]:
            expected[int(gallery_labels[i])] += np.exp(cosines[i] / 0.2)
        np.testing.assert_allclose(
            (row / row.sum()).numpy(), expected / expected.sum(), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize('nearest', [0, 1])
def test_ties_go_to_the_class_of_the_nearest(nearest):
    gallery = torch.tensor([[1.0, 0.1], [1.0, 0.2], [-1.0, 0.0]])
    labels = torch.tensor([nearest, 1 - nearest, 2])
    votes = knn_votes(gallery, labels, torch.tensor([[1.0, 0.0]]), 2)
    assert votes.argmax(1).tolist() == [nearest]


def test_one_close_neighbor_does_not_outvote_two():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.2], [1.0, 0.3]])
    votes = knn_votes(gallery, torch.tensor([2, 0, 0]), torch.tensor([[1.0, 0.0]]), 3)
    assert votes.argmax(1).tolist() == [0]


@pytest.mark.parametrize('weighted', [False, True])
def test_chunks_do_not_change_the_votes(features, weighted):
    gallery, gallery_labels, queries, _ = features.split()
    whole = knn_votes(gallery, gallery_labels, queries, 5, weighted)
    chunked = knn_votes(gallery, gallery_labels, queries, 5, weighted, chunk=4)
    torch.testing.assert_close(chunked, whole)


def test_votes_have_a_column_for_classes_missing_in_the_gallery():
    votes = knn_votes(torch.eye(3), torch.tensor([0, 1, 1]), torch.eye(3), 1, num_classes=5)
    assert votes.shape == (3, 5) and not votes[:, 2:].any()


def test_k_larger_than_the_gallery():
    features = feature_set(torch.eye(3), torch.arange(3), torch.eye(3), torch.arange(3))
    with pytest.raises(ValueError, match='k=4, .*only 3'):
        knn(features, [4, 1])
    assert set(knn(features, [1, 4])) == {'top1', 'top5', 'top1_k1'}
    with pytest.raises(RuntimeError):
        knn_votes(torch.eye(3), torch.arange(3), torch.eye(3), 4)


@pytest.mark.parametrize('k', [0, [1, 0], []])
def test_k_below_one_is_refused(features, k):
    with pytest.raises(ValueError, match='at least 1'):
        knn(features, k)


def test_more_distant_neighbors_settle_the_top5_of_one():
    gallery = F.normalize(torch.tensor([[1, 0.1 * i] for i in range(8)]), dim=1)
    queries = torch.tensor([[1.0, 0.0]] * 2)
    metrics = knn(feature_set(gallery, torch.arange(8), queries, torch.tensor([4, 5])), 1)
    assert metrics['top1'] == 0 and metrics['top5'] == 50
