"""Classification from a few labeled examples of each class."""

from statistics import mean, pstdev

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from sklearn.linear_model import LogisticRegression

from aimclr_mm.apis import fit_classifier
from aimclr_mm.evaluation import FewShotMetric, few_shot
from aimclr_mm.evaluation.evaluate import build_evaluators, evaluate_features
from aimclr_mm.evaluation.few_shot import draw_examples, fit_logistic

from .helpers import noisy_features
from .test_whitening import classes


def test_draws_are_balanced_without_replacement_and_differ():
    labels = np.array([0] * 9 + [2] * 2 + [5] * 30)
    generator = np.random.default_rng(0)
    draws = [draw_examples(labels, 5, generator) for _ in range(200)]
    for drawn in draws:
        assert len(set(drawn)) == len(drawn)
        assert np.bincount(labels[drawn], minlength=6).tolist() == [5, 0, 2, 0, 0, 5]
    assert set(np.concatenate(draws)) == set(range(len(labels)))  # none is left out for ever


def test_accuracy_is_that_of_the_classifiers_of_embed():
    features = noisy_features()
    gallery, labels = features.features[features.gallery], features.labels[features.gallery]
    is_query = ~features.gallery
    generator = np.random.default_rng(3)
    expected = []
    for _ in range(4):
        drawn = draw_examples(labels, 2, generator)
        classifier = fit_classifier(gallery[drawn], labels[drawn], strength=10)
        predicted = classifier.predict(features.features[is_query])
        expected.append(100 * np.mean(predicted == features.labels[is_query]))

    found = few_shot(features, examples=2, draws=4, strength=10, seed=3, device='cpu')
    assert found['top1'] == pytest.approx(mean(expected))
    assert found['top1_std'] == pytest.approx(pstdev(expected)) and found['top1_std'] > 0


def test_all_examples_make_the_same_classifier_in_every_draw():
    found = few_shot(noisy_features(), examples=100, draws=3, device='cpu')
    assert found['top1_std'] == 0 and found['top1'] > 300 / 7


def test_two_classes_and_whitening():
    plain = few_shot(classes(), device='cpu')['top1']
    assert few_shot(classes(), whitened=True, device='cpu')['top1'] > plain + 10


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(examples=0), 'examples=0; it must be at least 1'),
        (dict(draws=0), 'draws=0; it must be at least 1'),
        (dict(strength=0), 'strength=0; it must be positive'),
        (dict(strength=float('nan')), 'strength=nan'),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    for use in (FewShotMetric, lambda **kwargs: few_shot(noisy_features(), **kwargs)):
        with pytest.raises(ValueError, match=message):
            use(**settings)


def test_one_class_is_too_few():
    features = noisy_features()
    features.labels[features.gallery] = 3
    with pytest.raises(ValueError, match='have the label 3; a classifier needs two classes'):
        few_shot(features)


def test_evaluators_by_name():
    cfg = Config(dict(test_evaluator=[dict(type='FewShotMetric', examples=3)]))
    evaluators = build_evaluators(cfg, ['few_shot', 'few_shot_whitened'])
    metrics, logits = evaluate_features(noisy_features(), evaluators)
    assert metrics['few_shot/top1'] == few_shot(noisy_features(), examples=3)['top1']
    whitened = few_shot(noisy_features(), whitened=True)
    assert metrics['few_shot_whitened/top1'] == whitened['top1']
    assert metrics['few_shot_whitened/top1_std'] == whitened['top1_std']
    assert not logits


@pytest.mark.parametrize('count', [2, 4])
def test_fit_in_the_span_of_the_examples_is_the_fit_of_all_channels(count):
    rng = np.random.default_rng(0)
    labels = np.arange(12) % count
    rows = rng.normal(size=(12, 50)) + np.eye(50)[labels]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    weight, bias, _ = fit_logistic(rows, labels)

    model = LogisticRegression(C=100.0, class_weight='balanced', max_iter=5000).fit(rows, labels)
    queries = F.normalize(torch.from_numpy(rng.normal(size=(20, 50)))).numpy()
    found = torch.from_numpy(queries @ weight.T + bias).softmax(dim=1)
    # both end within the tolerance of scikit-learn's optimizer
    np.testing.assert_allclose(found, model.predict_proba(queries), atol=0.02)
