"""mmengine metrics: what they gather and refuse, their names, accuracy against scikit-learn."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from aimclr_mm.evaluation import ClassifierMetric, KNNMetric, LinearProbeMetric, knn, linear
from aimclr_mm.evaluation.metrics import FeatureMetric

from .helpers import noisy_features


def sample(role: str, label: int | None, feature: list[float]) -> dict:
    """Return a data sample as mmengine's evaluator passes it on."""
    data = dict(feature=torch.tensor(feature), role=role, frame_dir='a')
    return data if label is None else dict(data, gt_label=torch.tensor([label]))


class Recorder(FeatureMetric):
    """Returns the feature set, split."""

    default_prefix = 'recorder'

    def evaluate_features(self, features):
        return features.split()


def gathered(*samples: dict) -> tuple:
    metric = Recorder(device='cpu')
    for one in samples:
        metric.process(None, [one])
    return metric.compute_metrics(metric.results)


def test_roles_are_split():
    gallery, gallery_labels, queries, labels = gathered(
        sample('gallery', 3, [1.0, 2.0]),
        sample('query', 1, [3.0, 4.0]),
        sample('query', 2, [5.0, 6.0]),
        sample('gallery', 0, [7.0, 8.0]),
    )
    assert gallery.tolist() == [[1.0, 2.0], [7.0, 8.0]] and gallery_labels.tolist() == [3, 0]
    assert queries.tolist() == [[3.0, 4.0], [5.0, 6.0]] and labels.tolist() == [1, 2]


def test_results_have_a_prefix():
    metric = KNNMetric(k=1, device='cpu')
    samples = [
        sample('gallery', 0, [1.0, 0.0]),
        sample('gallery', 1, [0.0, 1.0]),
        sample('query', 0, [0.9, 0.1]),
        sample('query', 0, [0.1, 0.9]),
    ]
    metric.process(None, samples)
    assert metric.evaluate(4) == {'knn/top1': 50.0, 'knn/top5': 100.0, 'knn/top1_k1': 50.0}


def test_metrics_call_the_functions_with_their_settings():
    features = noisy_features()
    settings = dict(k=[3, 7], weighted=True, temperature=0.5, device='cpu')
    assert KNNMetric(**settings).evaluate_features(features) == knn(features, **settings)
    settings = dict(
        lr=0.3, epochs=3, milestones=[1], batch_size=16, momentum=0.5, weight_decay=0.1, seed=9
    )
    with torch.no_grad():  # as in mmengine's loops
        found = LinearProbeMetric(**settings, device='cpu').evaluate_features(features)
    assert found == linear(features, **settings, device='cpu').metrics


@pytest.mark.parametrize(
    'build',
    [
        lambda: KNNMetric(k=0),
        lambda: KNNMetric(k=[]),
        lambda: LinearProbeMetric(epochs=0),
        lambda: LinearProbeMetric(batch_size=0),
    ],
)
def test_invalid_settings_are_refused_before_training(build):
    with pytest.raises(ValueError, match='at least 1'):
        build()


def test_labels_are_needed():
    with pytest.raises(ValueError, match='needs labels'):
        gathered(sample('gallery', None, [1.0]))


@pytest.mark.parametrize('role', ['gallery', 'query'])
def test_gallery_and_queries_are_needed(role):
    with pytest.raises(ValueError, match='needs a gallery and queries.*xsub_train'):
        gathered(sample(role, 0, [1.0]), sample(role, 1, [2.0]))


@pytest.mark.parametrize('role', ['gallery', 'query'])
def test_huge_labels_are_refused_by_name(role):
    """Three million classes would take gigabytes of votes."""
    other = 'query' if role == 'gallery' else 'gallery'
    with pytest.raises(ValueError, match='label 3000000; labels are indices .* at most 9999'):
        gathered(sample(role, 3_000_000, [1.0]), sample(other, 1, [2.0]))


@pytest.mark.parametrize('broken', [float('nan'), float('inf')])
def test_features_that_are_not_finite_are_refused(broken):
    with pytest.raises(ValueError, match='2 of 3 features are not finite'):
        gathered(
            sample('gallery', 0, [1.0, broken]),
            sample('gallery', 0, [1.0, 1.0]),
            sample('query', 0, [broken, broken]),
        )


# --- classifiers ---


@pytest.mark.parametrize('classes', [3, 5, 12])
def test_classifier_accuracy_equals_scikit_learn(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=50)
    scores = rng.normal(size=(50, classes)).astype(np.float32)
    samples = [
        dict(pred_score=torch.tensor(row), gt_label=torch.tensor([label]), frame_dir=f's{i}')
        for i, (row, label) in enumerate(zip(scores, labels))
    ]

    metric = ClassifierMetric()
    for start in range(0, 50, 16):
        metric.process(None, samples[start : start + 16])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # k at least as large as the number of classes
        expected = {
            f'acc/top{k}': 100 * top_k_accuracy_score(labels, scores, k=k, labels=range(classes))
            for k in (1, 5)
        }
    assert metric.evaluate(50) == pytest.approx(expected)


def test_classifier_scores_may_be_bfloat16_and_samples_without_a_name():
    metric = ClassifierMetric()
    scores = torch.tensor([0.1, 0.9], dtype=torch.bfloat16)
    metric.process(None, [dict(pred_score=scores, gt_label=torch.tensor([1]))])
    assert metric.evaluate(1) == {'acc/top1': 100.0, 'acc/top5': 100.0}
