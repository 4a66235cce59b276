"""The linear probe against SGD in NumPy, and against one that runs the encoder in every epoch."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch import nn

from aimclr_mm.evaluation import FeatureSet, LinearProbeMetric, LinearResult, ScoreSet, linear
from aimclr_mm.evaluation.whitening import whiten

from .helpers import feature_set, noisy_features

RECIPE = dict(
    lr=0.5, epochs=4, milestones=(2,), batch_size=8, momentum=0.9, weight_decay=0.01, seed=3
)


def separable(classes: int = 6, repeats: int = 5) -> FeatureSet:
    """Features that a linear classifier separates: noisy one-hot vectors of their labels."""
    labels = torch.arange(classes).repeat(repeats)
    x = F.one_hot(labels).float() + 0.01 * torch.randn(len(labels), classes)
    return feature_set(x, labels, x, labels)


def test_separable_classes_are_separated():
    features = separable()
    settings = dict(lr=1.0, milestones=(20,), batch_size=8)
    with torch.no_grad():  # as in mmengine's test loop
        result = linear(features, epochs=30, **settings)
    assert len(result.history) == 30 and result.history[-1] == (100.0, 100.0)
    assert result.scores.scores.argmax(1).tolist() == result.scores.labels.tolist()
    assert result.scores.names.tolist() == features.names[~features.gallery].tolist()


def test_same_seed_same_history_whatever_the_global_state():
    features = noisy_features()
    first = linear(features, **RECIPE).history
    torch.manual_seed(99)
    assert linear(features, **RECIPE).history == first and len(first) == RECIPE['epochs']
    assert linear(features, **{**RECIPE, 'seed': 4}).history != first


def sgd_in_numpy(
    features: FeatureSet,
    *,
    lr: float,
    epochs: int,
    milestones: tuple[int, ...],
    batch_size: int,
    momentum: float,
    weight_decay: float,
    seed: int,
) -> np.ndarray:
    """Logits (Q, classes) after softmax regression by SGD with momentum, in float64."""
    x = features.features.astype(np.float64)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)  # the last column is the bias
    queries, x = x[~features.gallery], x[features.gallery]
    labels = features.labels[features.gallery]

    generator = torch.Generator().manual_seed(seed)
    classes, channels = labels.max() + 1, x.shape[1] - 1
    weight = torch.empty(classes, channels).normal_(0, 0.02, generator=generator).double().numpy()
    w = np.concatenate([weight, np.zeros((classes, 1))], axis=1)

    velocity = np.zeros_like(w)
    for epoch in range(epochs):
        rate = lr * 0.1 ** sum(epoch >= milestone for milestone in milestones)
        order = torch.randperm(len(x), generator=generator).numpy()
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]
            p = np.exp(x[batch] @ w.T)
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(batch)), labels[batch]] -= 1
            velocity = momentum * velocity + p.T @ x[batch] / len(batch) + weight_decay * w
            w = w - rate * velocity
    return queries @ w.T


@pytest.mark.parametrize('milestones', [(), (2,), (1, 3)])
@pytest.mark.parametrize('epochs', [1, 2, 3, 4])
def test_logits_equal_sgd_in_numpy(milestones, epochs):
    features = noisy_features()
    features.features /= 4
    recipe = {**RECIPE, 'milestones': milestones, 'epochs': epochs}
    result = linear(features, **recipe)
    np.testing.assert_allclose(result.scores.scores, sgd_in_numpy(features, **recipe), atol=1e-4)
    assert result.history[-1] == (result.scores.accuracy(1), result.scores.accuracy(5))


def test_metrics_of_last_and_best_epoch():
    history = [(40.0, 90.0), (70.0, 95.0), (70.0, 97.0), (60.0, 99.0)]
    scores = ScoreSet(np.zeros((1, 2)), np.zeros(1), np.array(['a']))
    assert LinearResult(history, scores).metrics == dict(
        top1=60.0, top5=99.0, best_top1=70.0, best_top5=97.0, best_epoch=3
    )


def test_defaults_are_the_recipe_of_the_paper():
    recipe = dict(
        lr=3.0, epochs=100, milestones=(80,), batch_size=128, momentum=0.9, weight_decay=0.0, seed=0
    )
    features = separable(repeats=2)
    np.testing.assert_array_equal(
        linear(features).scores.scores, linear(features, **recipe).scores.scores
    )
    settings = LinearProbeMetric(device='cpu').settings
    assert settings == dict(recipe, whitened=False, device='cpu')


def test_whitened_probe_is_one_of_whitened_features():
    features = noisy_features()
    parts = features.split()
    gallery, queries = whiten(parts[0], parts[2])
    expected = linear(feature_set(gallery, parts[1], queries, parts[3]), **RECIPE)
    found = linear(features, **RECIPE, whitened=True)
    np.testing.assert_allclose(found.scores.scores, expected.scores.scores, rtol=1e-5)


@pytest.mark.parametrize('wrong', [dict(epochs=0), dict(batch_size=0)])
def test_empty_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match='at least 1'):
        linear(noisy_features(), **wrong)


# --- features computed once against the frozen encoder in every epoch ---

CLASSES, EPOCHS = 8, 12
FROZEN = dict(lr=3.0, milestones=(9,), batch_size=32, momentum=0.9, weight_decay=0.0)


@pytest.fixture(scope='module')
def data():
    """Skeletons (N, M, T, V, C) and labels of 96 gallery and 120 query sequences.

    Each class is one movement with noise.
    """
    generator = torch.Generator().manual_seed(0)
    movements = torch.randn(CLASSES, 1, 8, 1, 3, generator=generator)  # the same for all joints
    labels = torch.arange(216) % CLASSES
    x = movements[labels] + 0.5 * torch.randn(216, 1, 8, 25, 3, generator=generator)
    return x[:96], labels[:96], x[96:], labels[96:]


@pytest.fixture(scope='module')
def model(data):
    """A small network in evaluation mode, with batch-norm statistics of the gallery and dropout."""
    torch.manual_seed(0)
    network = MODELS.build(
        dict(
            type='SkeletonCLR',
            backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=16, tcn_dropout=0.5),
            head=dict(type='ProjectionHead', in_channels=16, hidden_channels=8, out_channels=8),
            queue_length=16,
            data_preprocessor=dict(type='SkeletonViews', layout='ntu25', query=[], key=[]),
        )
    )
    network.init_weights()
    with torch.no_grad():
        for _ in range(30):
            network.encoder.backbone(data[0])
    return network.eval()


def encode(model, x: torch.Tensor) -> torch.Tensor:
    """Features (N, C) of skeletons: mean of the feature map over frames, joints and people."""
    with torch.no_grad():
        return model.encoder.backbone(x).mean(dim=(1, 3, 4))


def encode_every_epoch(model, data, seed: int, frozen: bool = True) -> list[torch.Tensor]:
    """Logits of the queries after each epoch of a probe that encodes every batch again."""
    x, labels, queries, _ = data
    model = copy.deepcopy(model).train(not frozen)

    generator = torch.Generator().manual_seed(seed)
    classifier = nn.Linear(16, CLASSES)
    nn.init.zeros_(classifier.bias)
    with torch.no_grad():
        classifier.weight.normal_(0, 0.02, generator=generator)
    optimizer = torch.optim.SGD(classifier.parameters(), FROZEN['lr'], FROZEN['momentum'])

    logits = []
    for epoch in range(EPOCHS):
        factor = 0.1 if epoch >= FROZEN['milestones'][0] else 1
        optimizer.param_groups[0]['lr'] = factor * FROZEN['lr']
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x), FROZEN['batch_size']):
            batch = order[start : start + FROZEN['batch_size']]
            optimizer.zero_grad()
            F.cross_entropy(classifier(encode(model, x[batch])), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            logits.append(classifier(encode(model, queries)))
    return logits


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Top-1 accuracy in percent."""
    return 100 * (logits.argmax(dim=1) == labels).float().mean().item()


def evaluate_once(model, data, seed: int) -> dict[str, float]:
    """Metrics of the project's evaluator, after one pass of all sequences through the network."""
    metric = LinearProbeMetric(epochs=EPOCHS, seed=seed, device='cpu', **FROZEN)
    for x, labels, role in ((*data[:2], 'gallery'), (*data[2:], 'query')):
        for inputs, targets in zip(x.split(64), labels.split(64)):
            samples = [
                ActionDataSample(metainfo=dict(role=role)).set_gt_label(int(label))
                for label in targets
            ]
            with torch.no_grad():
                samples = model(inputs, samples, mode='predict')
            metric.process(None, [sample.to_dict() for sample in samples])
    return metric.evaluate(len(data[0]) + len(data[2]))


@pytest.fixture(scope='module', params=(0, 1, 2))
def run(request, model, data):
    """A seed, and the logits after every epoch of the probe that encodes in every epoch."""
    return request.param, encode_every_epoch(model, data, request.param)


def test_accuracy_equals_that_of_encoding_in_every_epoch(model, data, run):
    seed, trajectory = run
    expected = accuracy(trajectory[-1], data[3])
    assert evaluate_once(model, data, seed)['linear/top1'] == pytest.approx(expected, abs=0.1)
    assert 2 * 100 / CLASSES < expected < 100


def test_logits_agree_after_every_epoch(model, data, run):
    seed, trajectory = run
    features = feature_set(encode(model, data[0]), data[1], encode(model, data[2]), data[3])
    queries = features.split()[2]
    # of full rank, so that the logits determine the weights
    assert torch.linalg.matrix_rank(queries) == queries.shape[1]
    for epoch, expected in enumerate(trajectory, start=1):
        logits = linear(features, epochs=epoch, seed=seed, device='cpu', **FROZEN).scores.scores
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_an_encoder_that_is_not_frozen_would_be_noticed(model, data):
    loose = accuracy(encode_every_epoch(model, data, 0, frozen=False)[-1], data[3])
    assert abs(evaluate_once(model, data, 0)['linear/top1'] - loose) > 10
