"""A linear probe on features computed once equals one that runs the frozen encoder in every epoch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch import nn

from aimclr_mm.evaluation import LinearProbeMetric, train_linear

CLASSES, EPOCHS, SEEDS = 8, 12, (0, 1, 2)
RECIPE = dict(lr=3.0, milestones=(9,), batch_size=32, momentum=0.9, weight_decay=0.0)


@pytest.fixture(scope='module')
def data():
    """Skeletons (N, M, T, V, C) of 96 gallery and 120 query sequences, and labels; a class has one movement and noise."""
    generator = torch.Generator().manual_seed(0)
    movements = torch.randn(CLASSES, 1, 8, 1, 3, generator=generator)  # the same for all joints
    labels = torch.arange(216) % CLASSES
    x = movements[labels] + 0.5 * torch.randn(216, 1, 8, 25, 3, generator=generator)
    return x[:96], labels[:96], x[96:], labels[96:]


@pytest.fixture(scope='module')
def model(data):
    """A small network in eval mode, with batch-norm statistics of the gallery; its dropout must be off."""
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
    """Features (N, C) of skeletons: mean over frames, joints and people of the backbone's map."""
    with torch.no_grad():
        return model.encoder.backbone(x).mean(dim=(1, 3, 4))


def encode_every_epoch(model, data, seed: int, frozen: bool = True) -> list[torch.Tensor]:
    """Logits of the queries after each epoch of a probe whose every batch passes the encoder anew."""
    x, labels, queries, _ = data
    model = copy.deepcopy(model).train(not frozen)
    generator = torch.Generator().manual_seed(seed)
    classifier = nn.Linear(16, CLASSES)
    nn.init.zeros_(classifier.bias)
    with torch.no_grad():
        classifier.weight.normal_(0, 0.02, generator=generator)
    optimizer = torch.optim.SGD(classifier.parameters(), RECIPE['lr'], RECIPE['momentum'])
    logits = []
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]['lr'] = RECIPE['lr'] * (
            0.1 if epoch >= RECIPE['milestones'][0] else 1
        )
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x), RECIPE['batch_size']):
            batch = order[start : start + RECIPE['batch_size']]
            optimizer.zero_grad()
            F.cross_entropy(classifier(encode(model, x[batch])), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            logits.append(classifier(encode(model, queries)))
    return logits


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Per cent."""
    return 100 * (logits.argmax(dim=1) == labels).float().mean().item()


def evaluate_once(model, data, seed: int) -> dict[str, float]:
    """Metrics of the project's evaluator, after one pass of all sequences through the network."""
    metric = LinearProbeMetric(epochs=EPOCHS, seed=seed, device='cpu', **RECIPE)
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


@pytest.fixture(scope='module', params=SEEDS)
def run(request, model, data):
    """A seed, and the logits after every epoch of the probe that encodes every epoch."""
    return request.param, encode_every_epoch(model, data, request.param)


def test_accuracy_is_that_of_a_probe_that_encodes_every_epoch(model, data, run):
    seed, trajectory = run
    expected = accuracy(trajectory[-1], data[3])
    assert evaluate_once(model, data, seed)['linear/top1'] == pytest.approx(expected, abs=0.1)
    assert 2 * 100 / CLASSES < expected < 100


def test_classifiers_stay_together_over_the_epochs(model, data, run):
    """The logits of the queries, and with them weights and bias, agree after every epoch."""
    seed, trajectory = run
    features = [encode(model, data[0]), data[1], encode(model, data[2]), data[3]]
    assert (
        torch.linalg.matrix_rank(features[2]) == features[2].shape[1]
    )  # so that logits determine the weights
    for epoch, expected in enumerate(trajectory, start=1):
        _, logits = train_linear(*features, epochs=epoch, seed=seed, **RECIPE)
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_an_encoder_that_is_not_frozen_would_be_noticed(model, data):
    loose = accuracy(encode_every_epoch(model, data, 0, frozen=False)[-1], data[3])
    assert abs(evaluate_once(model, data, 0)['linear/top1'] - loose) > 10
