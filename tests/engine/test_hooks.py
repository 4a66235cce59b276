"""Hooks of the training loop, and what makes the OpenMMLab libraries work together."""

import importlib
import io
import random
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from torch import nn

from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file, load_checkpoint_url
from aimclr_mm.engine import (
    CollapseMonitorHook,
    EpochSeedHook,
    MomentumUpdateHook,
    PlainCheckpointHook,
    StageSwitchHook,
)
from aimclr_mm.engine.distributed import prepare_distributed
from aimclr_mm.engine.hooks import epoch_seed
from aimclr_mm.models.encoder import momentum_update, relative_distance
from aimclr_mm.utils import compat


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


# health


HEALTHY = dict(loss=15.0, chance=20.8, cosine=0.3, key_distance=0.01)


@pytest.mark.parametrize(
    'changed, message',
    [
        (dict(cosine=0.97), 'collapsed.* 0.970'),
        (dict(loss=20.6), r'loss 20.60 .*chance level 20.80'),
        (dict(key_distance=0.0), 'key and query weights are equal'),
    ],
)
def test_health_names_each_problem(changed, message):
    problems = CollapseMonitorHook().diagnose(**{**HEALTHY, **changed})
    assert len(problems) == 1
    assert re.search(message, problems[0])


def test_health_is_silent_when_all_is_well():
    assert CollapseMonitorHook().diagnose(**HEALTHY) == []
    assert len(CollapseMonitorHook().diagnose(20.8, 20.8, 1.0, 0.0)) == 3


@pytest.mark.parametrize('epoch, warnings', [(0, 0), (1, 0), (2, 3), (5, 3)])
def test_health_waits_for_its_patience(epoch, warnings):
    hub = MessageHub(f'health{epoch}')
    for _ in range(4):
        for name, value in dict(loss=20.8, chance=20.8, cosine=0.99, key_distance=0.0).items():
            hub.update_scalar(f'train/{name}', value)
    runner = runner_at(epoch, message_hub=hub, train_dataloader=range(4))
    CollapseMonitorHook(patience=3).after_train_epoch(runner)
    assert len(runner.logger) == warnings


def test_health_logs_the_key_distance_at_intervals():
    model = SimpleNamespace(key_distance=lambda: 0.25)
    runner = runner_at(
        message_hub=MessageHub('distance'), model=model, train_dataloader=range(5), iter=0
    )
    for runner.iter in range(5):
        CollapseMonitorHook(interval=2).after_train_iter(runner, runner.iter)
    logged = runner.message_hub.get_scalar('train/key_distance').data[0]
    assert len(logged) == 3  # iterations 2 and 4 and the last one
    assert list(logged) == [0.25] * 3


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


class Evil:
    """Pickles as a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_checkpoint_file_is_read(tmp_path):
    path = tmp_path / 'good.pth'
    torch.save(dict(state_dict=dict(w=torch.arange(3)), meta=dict(epoch=2)), path)
    checkpoint = load_checkpoint_file(str(path))
    assert checkpoint['state_dict']['w'].tolist() == [0, 1, 2] and checkpoint['meta'] == dict(
        epoch=2
    )


def test_checkpoint_file_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        load_checkpoint_file(str(tmp_path / 'gone.pth'))


def saved(content, **kwargs) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **kwargs)
    return file.getvalue()


WEIGHTS = saved(dict(state_dict=dict(w=torch.randn(20, 30))))


@pytest.mark.parametrize(
    'text',
    [
        b'',
        b'this is a text\n',
        WEIGHTS[: len(WEIGHTS) // 2],
        WEIGHTS[:30],
        bytes(500),
        b'PK\x03\x04' + bytes(100),
    ],
)
def test_checkpoint_file_damaged(tmp_path, text):
    (tmp_path / 'bad.pth').write_bytes(text)
    with pytest.raises(ValueError, match='bad.pth'):
        load_checkpoint_file(str(tmp_path / 'bad.pth'))


def test_checkpoint_file_with_an_object_does_not_run(tmp_path):
    mark, path = tmp_path / 'mark', tmp_path / 'evil.pth'
    path.write_bytes(saved(dict(state_dict={}, extra=Evil(mark))))
    with pytest.raises(ValueError, match='evil.pth.*not loaded for safety'):
        load_checkpoint_file(str(path))
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the payload is a real one
    assert mark.exists()


def test_checkpoint_file_without_a_dict(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='holds a list'):
        load_checkpoint_file(str(tmp_path / 'list.pth'))


@pytest.mark.parametrize(
    'form', [dict(), dict(_use_new_zipfile_serialization=False)], ids=['zip', 'legacy']
)
def test_mutated_checkpoint_files_raise_value_error_or_load(tmp_path, form):
    path, rng, refused = tmp_path / 'mutated.pth', random.Random(0), 0
    good = saved(
        dict(state_dict=dict(a=torch.ones(2, 3)), meta=dict(x='abc', y=[1, 2.5, None])), **form
    )
    for _ in range(300):
        text = bytearray(good)
        for _ in range(rng.choice((1, 2, 10))):
            text[rng.randrange(len(text))] = rng.randrange(256)
        path.write_bytes(text)
        try:
            load_checkpoint_file(str(path))
        except ValueError as error:
            assert 'mutated.pth' in str(error)
            refused += 1
    assert 30 < refused


def test_mmengine_loads_through_the_safe_loader(tmp_path):
    from mmengine.runner.checkpoint import CheckpointLoader

    path = tmp_path / 'evil.pth'
    path.write_bytes(saved(dict(state_dict={}, extra=Evil(tmp_path / 'mark'))))
    with pytest.raises(ValueError, match='not loaded for safety'):
        CheckpointLoader.load_checkpoint(str(path))
    assert not (tmp_path / 'mark').exists()


# libraries


def test_stub_of_drn_is_made_once():
    name = 'mmaction.models.localizers.drn'
    before = sys.modules.get(name)
    compat.stub_missing_drn()
    compat.apply(load_checkpoint_file, load_checkpoint_url)
    assert sys.modules.get(name) is before
    from mmaction.models.localizers import DRN

    assert isinstance(DRN, type)


def test_mmaction_models_import():
    models = importlib.import_module('mmaction.models')
    assert hasattr(models, 'STGCN') and hasattr(models, 'RecognizerGCN')


@pytest.mark.parametrize(
    'version, fits',
    [
        ('1.7.1', False),
        ('2.0.0', True),
        ('2.0.1', True),
        ('2.1.0', True),
        ('2.2.0', False),
        ('2.3.1', False),
    ],
)
def test_version_of_mmcv(monkeypatch, version, fits):
    import mmcv

    monkeypatch.setattr(mmcv, '__version__', version)
    if fits:
        compat.check_mmcv()
    else:
        with pytest.raises(ImportError, match=f'mmcv {version} is installed.*pip install'):
            compat.check_mmcv()


@pytest.mark.parametrize(
    'check, package', [(compat.check_mmcv, 'mmcv'), (compat.stub_missing_drn, 'mmaction2')]
)
def test_missing_library_is_named(monkeypatch, check, package):
    monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=f'{package} is missing.*pip install'):
        check()


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_distributed_launchers_without_a_gpu(monkeypatch):
    config = Config(dict(launcher='none', env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    prepare_distributed(config)
    assert config.env_cfg.dist_cfg.backend == 'nccl' and 'model_wrapper_cfg' not in config
    config.launcher = 'slurm'
    with pytest.raises(ValueError, match="'slurm' needs GPUs"):
        prepare_distributed(config)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    config.launcher = 'pytorch'
    prepare_distributed(config)
    assert config.env_cfg.dist_cfg.backend == 'gloo' and config.model_wrapper_cfg.device_ids is None
