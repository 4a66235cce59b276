"""Losses that are read late: the same log, and a loss that is not finite still stops the run."""

import math

import pytest
import torch
from mmengine.hooks import Hook

from aimclr_mm.engine.hooks import deferred_info
from aimclr_mm.engine.hooks.deferred_info import PendingScalars
from tests.engine.test_divergence import EVERY_ITERATION, Fault, lose
from tests.runs import saved_iterations, toy_runner

pytestmark = pytest.mark.usefixtures('quick_runner')


@pytest.fixture
def deferred(monkeypatch):
    """Defer the losses of a CPU as those of a GPU."""
    monkeypatch.setattr(deferred_info, 'is_cpu', lambda x: False)


class Record(Hook):
    """Record how many losses are logged after each iteration."""

    priority = 'LOW'

    def __init__(self) -> None:
        self.logged: list[int] = []

    def after_train_iter(self, runner, **_) -> None:
        history = runner.message_hub.log_scalars.get('train/loss')
        self.logged.append(0 if history is None else len(history.data[0]))


def train(
    work_dir, *hooks: Hook, interval: int = 3, checkpoint: dict | None = None, kind: str = ''
):
    """Train the toy model for two epochs of five iterations; return the runner."""
    runner = toy_runner(
        work_dir,
        hooks=hooks,
        default_hooks=dict(
            runtime_info=dict(type=f'{kind or "Deferred"}RuntimeInfoHook'.replace('Plain', '')),
            logger=dict(type='LoggerHook', interval=interval),
            checkpoint=checkpoint or dict(type='SafeCheckpointHook', interval=1),
            divergence=dict(type='DivergenceHook'),
        ),
    )
    runner.train()
    return runner


def history(runner) -> list[float]:
    """Return the logged losses."""
    return runner.message_hub.get_scalar('train/loss').data[0].tolist()


def test_the_log_is_that_of_mmengine(tmp_path, deferred):
    expected = history(train(tmp_path / 'plain', kind='Plain'))
    assert history(train(tmp_path / 'deferred')) == expected and len(expected) == 10


def test_losses_are_late_except_for_log_lines_and_the_end_of_an_epoch(tmp_path, deferred):
    record = Record()
    train(tmp_path, record)
    assert record.logged == [0, 1, 3, 3, 5, 5, 6, 8, 8, 10]


def test_losses_of_a_cpu_are_not_late(tmp_path):
    record = Record()
    train(tmp_path, record)
    assert record.logged == list(range(1, 11))


@pytest.mark.parametrize('iteration', [1, 4, 7, 10])
def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path, deferred, iteration):
    fault = Fault(iteration, lose(math.nan))
    with pytest.raises(RuntimeError, match='the loss is not finite'):
        train(tmp_path, fault, interval=100, checkpoint=EVERY_ITERATION)
    assert saved_iterations(tmp_path) == [i for i in (iteration - 2, iteration - 1) if i > 0]


def test_without_a_checkpoint_the_run_stops_one_iteration_late(tmp_path, deferred):
    record = Record()
    with pytest.raises(RuntimeError, match='iteration 3: the loss is not finite'):
        train(tmp_path, Fault(2, lose(math.nan)), record, interval=100)
    assert record.logged == [0, 1]


def test_scalars_keep_their_names_and_values():
    scalars = dict(a=torch.tensor(1.5), b=torch.tensor([2]), c=torch.tensor(0.1).bfloat16())
    found = PendingScalars(scalars).read()
    assert list(found) == list('abc') and found == {n: v.item() for n, v in scalars.items()}
