"""Console lines; log files and backends still get all scalars."""

import json
import logging
import re
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import LogProcessor

from aimclr_mm.engine.console_log import (
    LEGEND,
    ConsoleLogProcessor,
    ConsoleRunner,
    describe_metric,
    duration,
    is_for_console,
    peak_memory,
    score_history,
    training_items,
)
from tests.runs import ToyModel, finish, register_toys, start, toy_runner, write_config

WIDTH = 120
CLOCK = len('22:01:16 ')


@pytest.mark.parametrize(
    'seconds, text',
    [
        (0, '0s'),
        (12.4, '12s'),
        (59.6, '1m00s'),
        (303, '5m03s'),
        (3599.6, '1h00m'),
        (98400, '27h20m'),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    'name, value, text',
    [
        ('knn/top1', 26.4286, 'KNN top-1 26.4 %'),
        ('knn/top1_k20', 7.0, 'KNN top-1 k=20 7.0 %'),
        ('joint/knn/top5', 99.96, 'joint KNN top-5 100.0 %'),
        ('acc/top1', 50, 'accuracy top-1 50.0 %'),
        ('mine/error', 0.123456, 'mine/error 0.1235'),
        ('mine/name', 'walk', 'mine/name walk'),
    ],
)
def test_metrics_in_words(name, value, text):
    assert describe_metric(name, value) == text


def test_last_and_best_accuracy():
    hub = MessageHub('console')
    for value in (20.0, 31.5, 30.25):
        hub.update_scalar('val/knn/top1_k1', 0.0)
        hub.update_scalar('val/knn/top1', value)
    hub.update_scalar('train/loss', 9.0)
    assert score_history(hub) == ('knn', [20.0, 31.5, 30.25])
    assert score_history(MessageHub('nothing')) == ('', [])


def test_items_of_each_kind_of_model():
    score = ('knn', [31.5, 30.25])
    scalars = dict(loss=14.215, chance=16.647, cosine=0.951, loss_info=3.0)
    assert training_items(scalars, score) == ['loss 14.21/16.65', 'cosine 0.95', 'KNN 30.2/31.5 %']
    streams = {'joint.loss_info': 3.0, 'joint.loss_d3m': 2.0, **scalars}
    assert training_items(streams, ('', [])) == ['loss 14.21/16.65', 'cosine 0.95']
    classifier = dict(loss=2.31, loss_cls=2.31, top1_acc=0.25)
    assert training_items(classifier, ('acc', [50.0])) == [
        'loss 2.31',
        'batch top-1 25.0 %',
        'accuracy 50.0/50.0 %',
    ]
    assert training_items({}, ('', [])) == []


def test_memory_of_the_gpu_or_of_the_process():
    assert peak_memory(dict(memory=3174)) == '3.1 GiB'
    assert 0.05 < float(peak_memory({}).removesuffix(' GiB')) < 100


class Loop:
    """The part of a loop that the processor reads."""

    class dataloader:
        batch_size = 128

        @staticmethod
        def __len__() -> int:
            return 312

    dataloader = dataloader()


class Stub:
    """The part of a runner that the processor reads, at the last step of a long training."""

    epoch, max_epochs, iter, train_loop, val_loop = 299, 300, 93599, Loop, Loop
    _train_loop = Loop

    def __init__(self, name: str) -> None:
        self.message_hub = MessageHub(name)
        scalars = {
            'lr': 0.01,
            'base_lr': 0.01,
            'time': 0.1037,
            'data_time': 0.01,
            'loss': 14.2151,
            'chance': 16.6472,
            'cosine': 0.9506,
            'loss_info': 5.25,
            'key_distance': 0.0117,
        }
        for key, value in scalars.items():
            self.message_hub.update_scalar(f'train/{key}', value)
        self.message_hub.update_scalar('val/knn/top1', 75.13)
        self.message_hub.update_scalar('val/knn/top1', 74.31)
        self.message_hub.update_info('eta', 98400.0)


def test_the_longest_line_fits_and_no_scalar_is_lost():
    runner = Stub('longest')
    tag, line = ConsoleLogProcessor().get_log_after_iter(runner, 311, 'train')
    line = re.sub(r'[0-9.]+ GiB', '3.1 GiB', line)
    assert line == (
        'Epoch 300/300 312/312  loss 14.22/16.65  cosine 0.95  KNN 74.3/75.1 %  1234 seq/s  '
        'ETA 27h20m  3.1 GiB  lr 0.01'
    )
    assert CLOCK + len(line) <= WIDTH
    assert tag == LogProcessor().get_log_after_iter(runner, 311, 'train')[0]
    assert {
        'loss',
        'loss_info',
        'chance',
        'cosine',
        'key_distance',
        'lr',
        'epoch',
        'iter',
    } <= tag.keys()
    assert all(CLOCK + len(text) <= WIDTH for text in LEGEND)
    named = LogProcessor(log_with_hierarchy=True).get_log_after_iter(runner, 311, 'train')[0]
    assert (
        ConsoleLogProcessor(log_with_hierarchy=True).get_log_after_iter(runner, 311, 'train')[0]
        == named
    )


def test_the_line_of_a_validation():
    runner = Stub('validation')
    runner.message_hub.update_scalar('val/knn/top1_k20', 70.0)
    tag, line = ConsoleLogProcessor().get_log_after_epoch(runner, 312, 'val')
    assert (
        line
        == 'Epoch 299/300 validation  KNN top-1 74.3 %, KNN top-1 k=20 70.0 %, best top-1 75.1 %'
    )
    assert tag == LogProcessor().get_log_after_epoch(runner, 312, 'val')[0]


def test_runs_that_count_iterations_keep_mmengines_line():
    runner = Stub('iterations')
    runner.max_iters = 93600
    assert (
        ConsoleLogProcessor(by_epoch=False)
        .get_log_after_iter(runner, 0, 'train')[1]
        .startswith('Iter(train)')
    )


def record(level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord('mmengine', level, 'file.py', 1, message, (), None)


def test_only_what_mmengine_says_in_passing_is_left_to_the_file():
    for message in (
        '\n' + '-' * 60 + '\nSystem environment:\n',
        'Config:\nmodel = 1',
        'Exp name: a_1',
    ):
        assert not is_for_console(record(logging.INFO, message))
        assert is_for_console(record(logging.WARNING, message)) and is_for_console(
            record(logging.ERROR, message)
        )
    assert is_for_console(record(logging.INFO, 'Epoch 1/2'))
    assert is_for_console(record(logging.INFO, '420 sequences. Config:\n'))


def test_console_and_log_file(tmp_path, capfd, quick_runner):
    register_toys()
    from mmaction.registry import RUNNERS
    from mmengine.config import Config

    toy = toy_runner(tmp_path / 'plain')  # its settings, with the project's console
    cfg = Config({**toy.cfg.to_dict(), 'runner_type': 'ConsoleRunner', 'log_level': 'INFO'})
    cfg.update(work_dir=str(tmp_path / 'work'), log_processor=dict(type='ConsoleLogProcessor'))
    cfg.update(experiment_name=f'{tmp_path.name}_readable')
    cfg.default_hooks.console_log = dict(type='ConsoleLogHook')
    capfd.readouterr()
    runner = RUNNERS.build(cfg)
    assert isinstance(runner.model, ToyModel)
    runner.logger.warning('Exp name: a warning')
    runner.train()
    shown = capfd.readouterr().out
    with open(runner.logger.log_file) as file:
        written = file.read()
    assert (
        'System environment:' in written
        and 'Config:' in written
        and 'Hooks will be executed' in written
    )
    assert not re.search(
        'System environment|Config:|Hooks will be executed|Exp name: console', shown
    )
    assert f'the full log: {runner.logger.log_file}' in shown
    assert re.search('WARNING.* - Exp name: a warning', shown)
    line = r'^[0-9:]{8} Epoch 2/2 5/5  loss [0-9.]+  [0-9.]+ seq/s  ETA 0s  [0-9.]+ GiB  lr 0.01$'
    assert re.search(line, shown, re.M)
    assert f'Checkpoints will be saved to {tmp_path}/work' in shown
    assert shown.count('Training finished after epoch 2\n') == 1


@pytest.mark.skipif(find_spec('wandb') is not None, reason='wandb is installed')
def test_a_backend_whose_package_is_missing(tmp_path):
    backends = [dict(type='WandbVisBackend')]
    with pytest.raises(ImportError, match='pip install wandb'):
        toy_runner(tmp_path, visualizer=dict(type='ActionVisualizer', vis_backends=backends))


@pytest.mark.slow
def test_tensorboard_holds_what_scalars_json_holds(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    text = """
val_dataloader = dict(
    batch_size=64, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        train_dataloader['dataset'], split=['xsub_train', 'xsub_val'], test_mode=True))
val_cfg, val_evaluator = dict(type='ValLoop'), [dict(type='KNNMetric', k=[1])]
"""
    work = tmp_path / 'work'
    assert (
        finish(
            start(
                write_config(tmp_path, text),
                work,
                '--epochs',
                '3',
                '--with',
                'configs/runtime/tensorboard.py',
            )
        )
        == 0
    ), (tmp_path / 'work.log').read_text()[-3000:]
    events = accumulator.EventAccumulator(str(next(work.glob('*/vis_data'))))
    events.Reload()
    lines = [
        json.loads(line)
        for line in next(work.glob('*/vis_data/scalars.json')).read_text().splitlines()
    ]
    expected: dict[str, list] = {}
    for line in lines:
        for name, value in line.items():
            if name != 'step':
                expected.setdefault(name, []).append((line['step'], value))
    assert {
        'loss',
        'loss_info',
        'loss_d3m',
        'chance',
        'cosine',
        'lr',
        'key_distance',
        'knn/top1',
    } <= expected.keys()
    assert set(events.Tags()['scalars']) == expected.keys()
    for name, points in expected.items():
        assert [event.step for event in events.Scalars(name)] == [step for step, _ in points]
        assert [event.value for event in events.Scalars(name)] == pytest.approx(
            [value for _, value in points], 1e-6
        )
    shown = (tmp_path / 'work.log').read_text()
    assert 'The second stage, nearest neighbors mining, starts with epoch 2 of 3' in shown
    assert re.search(
        r'Training finished after epoch 3: KNN top-1 [0-9.]+ %, best [0-9.]+ %\n', shown
    )
    assert f'python tools/test.py {work}/tiny_tensorboard.py {work}/iter_15.pth' in shown


@pytest.mark.parametrize('allowed', [False, True])
def test_tf32_by_setting(monkeypatch, allowed):
    matmul = SimpleNamespace(allow_tf32=not allowed)
    monkeypatch.setattr(torch.backends.cuda, 'matmul', matmul)
    monkeypatch.setattr('mmengine.runner.Runner.setup_env', lambda self, env_cfg: None)
    runner = ConsoleRunner.__new__(ConsoleRunner)
    runner.setup_env(dict(allow_tf32=allowed) if allowed else {})
    assert matmul.allow_tf32 is allowed
