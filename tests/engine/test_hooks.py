"""Stage switch, momentum update, seeds, collapse monitor and plain checkpoints."""

import random
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MessageHub
from torch import nn

from aimclr_mm.engine import (
    CollapseMonitorHook,
    EpochSeedHook,
    MomentumUpdateHook,
    PlainCheckpointHook,
    StageSwitchHook,
)
from aimclr_mm.engine.hooks import epoch_seed
from aimclr_mm.models.encoder import momentum_update, relative_distance
from tests.models.test_model import build, views


class Log(list):
    """Keeps what is logged."""

    info = warning = list.append


def runner_at(epoch: int = 0, **fields) -> SimpleNamespace:
    """A runner that knows its epoch and has a model."""
    return SimpleNamespace(
        **{**dict(epoch=epoch, logger=Log(), model=SimpleNamespace(mining=False)), **fields}
    )


# stages


def test_stage_switch_at_epoch_boundaries():
    runner, hook, stages = runner_at(), StageSwitchHook(epoch=2), []
    for runner.epoch in range(5):
        hook.before_train_epoch(runner)
        stages.append(runner.model.mining)
    assert stages == [False, False, True, True, True]
    assert len(runner.logger) == 1 and 'Epoch 3' in runner.logger[0]


@pytest.mark.parametrize('epoch, mining', [(149, False), (150, True), (151, True), (299, True)])
def test_stage_of_a_resumed_run(epoch, mining):
    runner = runner_at(epoch)
    StageSwitchHook().before_train_epoch(runner)
    assert runner.model.mining is mining


def test_stage_switch_back_and_from_the_start():
    runner = runner_at(1, model=SimpleNamespace(mining=True))
    StageSwitchHook(epoch=2).before_train_epoch(runner)
    assert runner.model.mining is False
    StageSwitchHook(epoch=0).before_train_epoch(runner)
    assert runner.model.mining is True
    with pytest.raises(ValueError, match='epoch=-1'):
        StageSwitchHook(epoch=-1)


def test_stage_switch_reaches_through_a_wrapper():
    model = nn.Linear(1, 1)
    model.mining = False
    StageSwitchHook(epoch=0).before_train_epoch(runner_at(model=nn.DataParallel(model)))
    assert model.mining


# momentum


def test_momentum_update_equals_a_loop():
    query = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    key = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    key[1].running_mean.fill_(7)
    expected = [p.detach().double().numpy().copy() for p in key.parameters()]
    for _ in range(5):
        with torch.no_grad():
            for p in query.parameters():
                p.add_(torch.randn_like(p))
        before = [p.detach().clone() for p in query.parameters()]
        momentum_update(key, query, 0.9)
        for index, p in enumerate(query.parameters()):
            assert torch.equal(p, before[index])
            expected[index] = 0.9 * expected[index] + (1 - 0.9) * p.detach().double().numpy()
        for p, value in zip(key.parameters(), expected, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), value, atol=1e-5)
    assert key[1].running_mean.tolist() == [7] * 4  # statistics stay the key encoder's own


@pytest.mark.parametrize('momentum, equals', [(0.0, 'query'), (1.0, 'before')])
def test_momentum_at_its_limits(momentum, equals):
    query, key = nn.Linear(3, 2), nn.Linear(3, 2)
    wanted = dict(query=query.weight, before=key.weight)[equals].detach().clone()
    momentum_update(key, query, momentum)
    assert torch.equal(key.weight, wanted)


def test_momentum_hook_asks_the_model_before_every_iteration():
    model, calls = nn.Linear(1, 1), []
    model.update_key_encoder = lambda: calls.append(1)
    hook = MomentumUpdateHook()
    for wrapped in (model, nn.DataParallel(model)):
        hook.before_train_iter(runner_at(model=wrapped), 0)
    assert len(calls) == 2
    assert type(hook).after_train_iter is Hook.after_train_iter


def test_relative_distance_equals_the_norm_of_all_parameters():
    query, key = nn.Linear(3, 2), nn.Linear(3, 2)
    q, k = (
        np.concatenate([p.detach().numpy().ravel() for p in m.parameters()]) for m in (query, key)
    )
    assert relative_distance(key, query) == pytest.approx(
        np.linalg.norm(k - q) / np.linalg.norm(q), rel=1e-5
    )
    assert relative_distance(query, query) == 0


# seeds


def numbers(monkeypatch, seed: int, epoch: int, rank: int) -> tuple[float, ...]:
    """One number of each generator at the start of an epoch."""
    monkeypatch.setattr(epoch_seed, 'get_rank', lambda: rank)
    EpochSeedHook().before_train_epoch(runner_at(epoch, seed=seed))
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_numbers_are_a_function_of_seed_epoch_and_rank(monkeypatch):
    first = numbers(monkeypatch, 1, 2, 0)
    others = [
        numbers(monkeypatch, *key)
        for key in ((0, 2, 0), (1, 3, 0), (1, 2, 1), (2, 1, 0), (0, 1, 2))
    ]
    assert numbers(monkeypatch, 1, 2, 0) == first
    for generator in zip(first, *others):
        assert len(set(generator)) == 6


def test_sampler_gets_the_seed_of_the_run():
    with_seed, without = SimpleNamespace(seed=1), SimpleNamespace()
    for sampler in (with_seed, without):
        EpochSeedHook().before_train(
            runner_at(seed=5, train_dataloader=SimpleNamespace(sampler=sampler))
        )
    assert with_seed.seed == 5 and not hasattr(without, 'seed')


# collapse monitor


HEALTHY = dict(loss=15.0, chance=20.8, cosine=0.3, key_distance=0.01)


@pytest.mark.parametrize(
    'changed, message',
    [
        (dict(cosine=0.97), 'collapsed.* 0.970'),
        (dict(loss=20.6), r'loss 20.60 .*chance level 20.80'),
        (dict(key_distance=0.0), 'key and query weights are equal'),
    ],
)
def test_monitor_names_each_problem(changed, message):
    (problem,) = CollapseMonitorHook().diagnose(**{**HEALTHY, **changed})
    assert re.search(message, problem)


def test_monitor_is_silent_without_a_problem():
    assert CollapseMonitorHook().diagnose(**HEALTHY) == []
    assert len(CollapseMonitorHook().diagnose(20.8, 20.8, 1.0, 0.0)) == 3


@pytest.mark.parametrize('epoch, warnings', [(0, 0), (1, 0), (2, 3), (5, 3)])
def test_monitor_is_silent_before_its_patience(epoch, warnings):
    hub = MessageHub(f'patience{epoch}')
    for _ in range(4):
        for name, value in dict(loss=20.8, chance=20.8, cosine=0.99, key_distance=0.0).items():
            hub.update_scalar(f'train/{name}', value)
    runner = runner_at(epoch, message_hub=hub, train_dataloader=range(4))
    CollapseMonitorHook(patience=3).after_train_epoch(runner)
    assert len(runner.logger) == warnings


class Single(nn.Module):
    """A query encoder that calls its head for a query view, then for an extreme view."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.head = nn.Linear(3, 4)

    def forward(self, query: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of the query view."""
        embeddings = self.encoder.head(query)
        self.encoder.head(torch.ones(2, 3))
        return embeddings

    def key_distance(self) -> float:
        return 0.25

    def chance_loss(self) -> float:
        return 3.5


class Several(Single):
    """Two streams."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(dict(joint=Single(), bone=Single()))

    def forward(self, *queries: torch.Tensor) -> list[torch.Tensor]:
        """Return the embeddings of the query view of each stream."""
        return [single(query) for single, query in zip(self.streams.values(), queries)]


def naive_cosine(embeddings: torch.Tensor) -> float:
    """Mean cosine over pairs of different samples."""
    z = embeddings.detach().double().numpy()
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return (z @ z.T)[~np.eye(len(z), dtype=bool)].mean()


def monitored(model: Single, interval: int, log_interval: int) -> tuple[MessageHub, list]:
    """Run the monitor over an epoch of 5 batches; return what it logs, and the expected cosines."""
    hub = MessageHub(f'monitor_{time.monotonic_ns()}')
    runner = runner_at(model=model, message_hub=hub, train_dataloader=range(5), iter=0)
    hook = CollapseMonitorHook(interval)
    runner.hooks = [hook, LoggerHook(interval=log_interval)]
    hook.before_train(runner)
    singles = list(model.streams.values()) if hasattr(model, 'streams') else [model]

    def embed(samples: int) -> list[torch.Tensor]:
        embeddings = model(*(torch.randn(samples, 3) for _ in singles))
        return embeddings if len(singles) > 1 else [embeddings]

    expected = []
    for runner.iter in range(5):
        hook.before_train_iter(runner, runner.iter)
        model.eval()
        embed(2)  # a validation does not count
        model.train()
        expected.append([naive_cosine(embeddings) for embeddings in embed(6)])
        hook.after_train_iter(runner, runner.iter)
        logged = runner.iter + 1 if (runner.iter + 1) % log_interval == 0 else None
        if logged:
            assert len(hub.get_scalar('train/cosine').data[0]) == logged
    hook.after_train(runner)
    assert all(not single.encoder.head._forward_hooks for single in singles)
    return hub, expected


def test_monitor_logs_the_cosine_of_the_query_view_for_every_iteration():
    hub, expected = monitored(Single(), interval=2, log_interval=3)
    assert list(hub.get_scalar('train/cosine').data[0]) == pytest.approx(
        sum(expected, []), abs=1e-5
    )
    assert list(hub.get_scalar('train/chance').data[0]) == [3.5] * 5


@pytest.mark.parametrize('mining', [False, True])
@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR'])
def test_the_query_view_comes_first_in_every_method(kind, mining):
    """The monitor takes the head's first call for that of the query view."""
    model, inputs = build(kind), views()
    model.mining = mining
    with torch.no_grad():
        expected = naive_cosine(model.encoder(inputs['query']))

    runner = runner_at(model=model, hooks=[])
    hook = CollapseMonitorHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    model(inputs, mode='loss')
    assert hook._recorded[model.encoder.head].item() == pytest.approx(expected, abs=1e-5)


def test_monitor_logs_the_mean_cosine_over_streams_and_each_of_them():
    hub, expected = monitored(Several(), interval=2, log_interval=2)
    means = [np.mean(cosines) for cosines in expected]
    assert list(hub.get_scalar('train/cosine').data[0]) == pytest.approx(means, abs=1e-5)
    for index, stream in enumerate(('joint', 'bone')):
        cosines = [row[index] for row in expected]
        logged = list(hub.get_scalar(f'train/{stream}.cosine').data[0])
        assert logged == pytest.approx(cosines, abs=1e-5)


def test_monitor_logs_the_key_distance_at_its_interval():
    hub, _ = monitored(Single(), interval=2, log_interval=5)
    logged = list(hub.get_scalar('train/key_distance').data[0])
    assert logged == [0.25] * 3  # iterations 2 and 4 and the last one


# checkpoints


def test_checkpoint_is_plain_and_log_buffers_come_back(tmp_path):
    hub = MessageHub('buffers')
    for value in (3.0, np.float64(2.5), torch.tensor(1.25)):
        hub.update_scalar('train/loss', value)
    hub.update_scalar('train/lr', np.float32(0.1), 2)
    hub.update_info('epoch', np.int64(4))
    checkpoint = dict(
        message_hub=hub.state_dict(),
        state_dict=dict(w=torch.ones(2)),
        meta=dict(seed=np.int64(3), names=('a', 'b'), array=np.arange(2)),
        param_schedulers=[dict(last_epoch=1, base_values=[np.float64(0.1)])],
    )
    with pytest.raises(Exception, match='[Ww]eights'):  # as it is, it cannot be loaded
        torch.save(checkpoint, tmp_path / 'objects.pth')
        torch.load(tmp_path / 'objects.pth', weights_only=True)

    hook = PlainCheckpointHook()
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'plain.pth')
    loaded = torch.load(tmp_path / 'plain.pth', weights_only=True)
    assert loaded['meta'] == dict(seed=3, names=('a', 'b'), array=[0, 1])
    assert loaded['param_schedulers'] == [dict(last_epoch=1, base_values=[0.1])]
    hook.after_load_checkpoint(None, loaded)
    other = MessageHub('restored')
    other.load_state_dict(loaded['message_hub'])
    for name in ('train/loss', 'train/lr'):
        for restored, original in zip(
            other.get_scalar(name).data, hub.get_scalar(name).data, strict=True
        ):
            assert np.array_equal(restored, original)
    assert other.get_scalar('train/loss').mean(2) == hub.get_scalar('train/loss').mean(2) == 1.875
    assert other.get_info('epoch') == 4
    other.update_scalar('train/loss', 9.0)
    assert other.get_scalar('train/loss').current() == 9


def test_checkpoint_keeps_the_newest_entries_only():
    hub = MessageHub('newest')
    for value in range(10):
        hub.update_scalar('train/loss', float(value))
    checkpoint = dict(message_hub=hub.state_dict())
    PlainCheckpointHook(max_history=3).before_save_checkpoint(None, checkpoint)
    assert checkpoint['message_hub']['log_scalars']['train/loss'] == [[7.0, 8.0, 9.0], [1, 1, 1]]
    assert len(hub.get_scalar('train/loss').data[0]) == 10


@pytest.mark.parametrize('checkpoint', [{}, dict(message_hub=None), dict(state_dict={})])
def test_checkpoints_without_log_buffers_load(checkpoint):
    PlainCheckpointHook().after_load_checkpoint(None, checkpoint)


# checkpoint files
