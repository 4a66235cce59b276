"""Evaluators: nearest neighbours, linear classifier, and what they share, against plain re-implementations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from aimclr_mm.evaluation import (
    FeatureMetric,
    KNNMetric,
    LinearProbeMetric,
    knn_scores,
    linear,
    top_k_accuracy,
    train_linear,
)

RECIPE = dict(
    lr=0.5, epochs=4, milestones=(2,), batch_size=8, momentum=0.9, weight_decay=0.01, seed=3
)


@pytest.fixture
def features():
    """60 gallery and 25 query features of 7 noisy classes, and their labels."""
    centers = torch.randn(7, 12)
    gallery_labels, labels = torch.arange(60) % 7, torch.arange(25) % 7
    return (
        centers[gallery_labels] + 1.5 * torch.randn(60, 12),
        gallery_labels,
        centers[labels] + 1.5 * torch.randn(25, 12),
        labels,
    )


def separable(classes: int = 6, repeats: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that a linear classifier separates: one-hot vectors of their labels, slightly disturbed."""
    labels = torch.arange(classes).repeat(repeats)
    return F.one_hot(labels).float() + 0.01 * torch.randn(len(labels), classes), labels


def sample(role: str, label: int | None, feature: list[float]) -> dict:
    """A data sample as mmengine's evaluator hands it on."""
    data = dict(feature=torch.tensor(feature), role=role, frame_dir='a')
    return data if label is None else dict(data, gt_label=torch.tensor([label]))


# nearest neighbours


@pytest.mark.parametrize('k', [1, 2, 5, 20, 60])
def test_knn_votes_equal_scikit_learn(features, k):
    gallery, gallery_labels, queries, _ = features
    reference = KNeighborsClassifier(k, metric='cosine', algorithm='brute').fit(
        gallery.numpy(), gallery_labels.numpy()
    )
    shares = knn_scores(gallery, gallery_labels, queries, k) / k
    np.testing.assert_allclose(shares.numpy(), reference.predict_proba(queries.numpy()), atol=1e-6)
    if k == 1:
        assert np.array_equal(shares.argmax(1).numpy(), reference.predict(queries.numpy()))


@pytest.mark.parametrize('k', [1, 5])
def test_knn_metric_equals_scikit_learn(features, k):
    gallery, gallery_labels, queries, labels = features
    reference = KNeighborsClassifier(k, metric='cosine', algorithm='brute').fit(
        gallery.numpy(), gallery_labels.numpy()
    )
    votes = np.round(reference.predict_proba(queries.numpy()) * k)
    unique = (votes == votes.max(1, keepdims=True)).sum(1) == 1  # ties have a rule of their own
    assert unique.sum() > 10
    metrics = KNNMetric(k=[k]).score(gallery, gallery_labels, queries[unique], labels[unique])
    expected = 100 * np.mean(votes[unique].argmax(1) == labels.numpy()[unique])
    assert metrics['top1'] == pytest.approx(expected) and metrics[f'top1_k{k}'] == metrics['top1']
    assert 0 < expected < 100


def test_weighted_votes_equal_a_loop(features):
    gallery, gallery_labels, queries, _ = features
    scores = knn_scores(gallery, gallery_labels, queries, 5, weighted=True, temperature=0.2)
    for query, row in zip(queries, scores):
        cosines = [float(query @ b / query.norm() / b.norm()) for b in gallery]
        expected = np.zeros(7)
        for i in sorted(range(len(gallery)), key=lambda i: -cosines[i])[:5]:
            expected[int(gallery_labels[i])] += np.exp(cosines[i] / 0.2)
        np.testing.assert_allclose(
            (row / row.sum()).numpy(), expected / expected.sum(), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize('nearest', [0, 1])
def test_equal_votes_go_to_the_class_of_the_nearest(nearest):
    gallery = torch.tensor([[1.0, 0.1], [1.0, 0.2], [-1.0, 0.0]])
    labels = torch.tensor([nearest, 1 - nearest, 2])
    assert knn_scores(gallery, labels, torch.tensor([[1.0, 0.0]]), 2).argmax(1).tolist() == [
        nearest
    ]


def test_one_close_neighbour_does_not_outvote_two():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.2], [1.0, 0.3]])
    assert knn_scores(gallery, torch.tensor([2, 0, 0]), torch.tensor([[1.0, 0.0]]), 3).argmax(
        1
    ).tolist() == [0]


@pytest.mark.parametrize('weighted', [False, True])
def test_chunks_do_not_change_the_votes(features, weighted):
    gallery, gallery_labels, queries, _ = features
    whole = knn_scores(gallery, gallery_labels, queries, 5, weighted)
    torch.testing.assert_close(
        knn_scores(gallery, gallery_labels, queries, 5, weighted, chunk=4), whole
    )


def test_votes_have_a_column_for_classes_missing_in_the_gallery():
    scores = knn_scores(torch.eye(3), torch.tensor([0, 1, 1]), torch.eye(3), 1, num_classes=5)
    assert scores.shape == (3, 5) and not scores[:, 2:].any()


def test_k_larger_than_the_gallery():
    gallery, labels = torch.eye(3), torch.arange(3)
    with pytest.raises(ValueError, match='k=4, .*only 3'):
        KNNMetric(k=[4, 1]).score(gallery, labels, gallery, labels)
    assert set(KNNMetric(k=[1, 4]).score(gallery, labels, gallery, labels)) == {
        'top1',
        'top5',
        'top1_k1',
    }
    with pytest.raises(RuntimeError):
        knn_scores(gallery, labels, gallery, 4)


@pytest.mark.parametrize('k', [0, [1, 0], []])
def test_knn_metric_refuses_k_below_one(k):
    with pytest.raises(ValueError, match='at least 1'):
        KNNMetric(k=k)


def test_top5_of_one_neighbour_is_settled_by_the_others():
    gallery = F.normalize(torch.tensor([[1, 0.1 * i] for i in range(8)]), dim=1)
    metrics = KNNMetric(k=1).score(
        gallery, torch.arange(8), torch.tensor([[1.0, 0.0]] * 2), torch.tensor([4, 5])
    )
    assert metrics['top1'] == 0 and metrics['top5'] == 50


@pytest.mark.parametrize('k', [1, 3, 5, 9])
def test_top_k_accuracy_equals_a_loop(k):
    scores, labels = torch.randn(40, 5), torch.randint(5, (40,))
    hits = sum(int(label) in np.argsort(-row.numpy())[:k] for row, label in zip(scores, labels))
    assert top_k_accuracy(scores, labels, k) == pytest.approx(100 * hits / 40)
    assert k < 5 or hits == 40


# linear classifier


def test_linear_separates_what_is_separable():
    x, y = separable()
    history, scores = train_linear(
        x,
        y,
        x,
        y,
        lr=1.0,
        epochs=30,
        milestones=(20,),
        batch_size=8,
        momentum=0.9,
        weight_decay=0.0,
        seed=0,
    )
    assert len(history) == 30 and history[-1] == (100.0, 100.0) and torch.equal(scores.argmax(1), y)


def test_same_seed_same_history_whatever_the_global_state(features):
    first, _ = train_linear(*features, **RECIPE)
    torch.manual_seed(99)
    assert train_linear(*features, **RECIPE)[0] == first and len(first) == RECIPE['epochs']
    assert train_linear(*features, **{**RECIPE, 'seed': 4})[0] != first


def sgd_in_numpy(
    gallery,
    gallery_labels,
    queries,
    *,
    lr,
    epochs,
    milestones,
    batch_size,
    momentum,
    weight_decay,
    seed,
):
    """Scores (Q, classes) after each epoch: softmax regression by SGD with momentum, in float64."""
    generator = torch.Generator().manual_seed(seed)
    classes = int(gallery_labels.max()) + 1
    weight = (
        torch.empty(classes, gallery.shape[1])
        .normal_(0, 0.02, generator=generator)
        .double()
        .numpy()
    )
    w, x, q = (
        np.concatenate([weight, np.zeros((classes, 1))], 1),
        gallery.double().numpy(),
        queries.double().numpy(),
    )
    x, q = (np.concatenate([a, np.ones((len(a), 1))], 1) for a in (x, q))
    velocity, scores = np.zeros_like(w), []
    for epoch in range(epochs):
        rate = lr * 0.1 ** sum(epoch >= milestone for milestone in milestones)
        order = torch.randperm(len(x), generator=generator).numpy()
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]
            p = np.exp(x[batch] @ w.T)
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(batch)), gallery_labels.numpy()[batch]] -= 1
            velocity = momentum * velocity + p.T @ x[batch] / len(batch) + weight_decay * w
            w = w - rate * velocity
        scores.append(q @ w.T)
    return scores


@pytest.mark.parametrize('milestones', [(), (2,), (1, 3)])
def test_linear_equals_sgd_in_numpy(features, monkeypatch, milestones):
    gallery, gallery_labels, queries, labels = features
    monkeypatch.setattr(linear, 'top_k_accuracy', lambda scores, labels, k: scores.clone())
    recipe = {**RECIPE, 'milestones': milestones}
    history, last = train_linear(gallery / 4, gallery_labels, queries / 4, labels, **recipe)
    for (scores, _), expected in zip(
        history, sgd_in_numpy(gallery / 4, gallery_labels, queries / 4, **recipe), strict=True
    ):
        np.testing.assert_allclose(scores.numpy(), expected, atol=1e-4)
    assert torch.equal(last, history[-1][0])


def test_linear_metric_reports_last_and_best_epoch(monkeypatch):
    history = [(40.0, 90.0), (70.0, 95.0), (70.0, 97.0), (60.0, 99.0)]
    seen = {}

    def stub(*tensors, **recipe):
        seen.update(recipe, grad=torch.is_grad_enabled())
        return history, torch.zeros(1)

    monkeypatch.setattr(linear, 'train_linear', stub)
    with torch.no_grad():
        metrics = LinearProbeMetric(seed=5).score(*(torch.zeros(1),) * 4)
    assert metrics == dict(top1=60.0, top5=99.0, best_top1=70.0, best_top5=97.0, best_epoch=3)
    paper = dict(
        lr=3.0, epochs=100, milestones=(80,), batch_size=128, momentum=0.9, weight_decay=0.0
    )
    assert seen == dict(paper, seed=5, progress=False, grad=True)


def test_linear_metric_trains_though_the_test_loop_forbids_gradients():
    x, y = separable()
    with torch.no_grad():
        assert (
            LinearProbeMetric(epochs=20, milestones=(15,), lr=1.0).score(x, y, x, y)['top1'] == 100
        )


@pytest.mark.parametrize('wrong', [dict(epochs=0), dict(batch_size=0)])
def test_linear_metric_refuses_an_empty_schedule(wrong):
    with pytest.raises(ValueError, match='at least 1'):
        LinearProbeMetric(**wrong)


# what they share


class Recorder(FeatureMetric):
    """Returns what :meth:`score` is given."""

    default_prefix = 'recorder'

    def score(self, *tensors):
        return tensors


def test_feature_metric_splits_roles():
    metric = Recorder(device='cpu')
    metric.process(None, [sample('gallery', 3, [1.0, 2.0]), sample('query', 1, [3.0, 4.0])])
    metric.process(None, [sample('query', 2, [5.0, 6.0]), sample('gallery', 0, [7.0, 8.0])])
    gallery, gallery_labels, queries, labels = metric.compute_metrics(metric.results)
    assert gallery.tolist() == [[1.0, 2.0], [7.0, 8.0]] and gallery_labels.tolist() == [3, 0]
    assert queries.tolist() == [[3.0, 4.0], [5.0, 6.0]] and labels.tolist() == [1, 2]


def test_feature_metric_prefixes_its_results():
    metric = KNNMetric(k=1, device='cpu')
    metric.process(
        None,
        [
            sample('gallery', 0, [1.0, 0.0]),
            sample('gallery', 1, [0.0, 1.0]),
            sample('query', 0, [0.9, 0.1]),
            sample('query', 0, [0.1, 0.9]),
        ],
    )
    assert metric.evaluate(4) == {'knn/top1': 50.0, 'knn/top5': 100.0, 'knn/top1_k1': 50.0}


def test_feature_metric_needs_labels():
    with pytest.raises(ValueError, match='needs labels'):
        Recorder().process(None, [sample('gallery', None, [1.0])])


@pytest.mark.parametrize('role', ['gallery', 'query'])
def test_feature_metric_needs_gallery_and_queries(role):
    metric = Recorder(device='cpu')
    metric.process(None, [sample(role, 0, [1.0]), sample(role, 1, [2.0])])
    with pytest.raises(ValueError, match='needs a gallery and queries.*xsub_train'):
        metric.compute_metrics(metric.results)


@pytest.mark.parametrize('broken', [float('nan'), float('inf')])
def test_feature_metric_refuses_features_that_are_not_finite(broken):
    metric = Recorder(device='cpu')
    metric.process(
        None,
        [
            sample('gallery', 0, [1.0, broken]),
            sample('gallery', 0, [1.0, 1.0]),
            sample('query', 0, [broken, broken]),
        ],
    )
    with pytest.raises(ValueError, match='2 of 3 features are not finite'):
        metric.compute_metrics(metric.results)
