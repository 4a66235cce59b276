"""A diverged training stops before it saves a checkpoint, and names the last good one."""

import math
import os
import re
import signal
import subprocess

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel

from aimclr_mm.engine import newest_checkpoint
from tests.runs import (
    ROOT,
    environment,
    finish,
    free_port,
    saved_iterations,
    start,
    toy_runner,
    write_config,
)

EVERY_ITERATION = dict(type='SafeCheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=2)


pytestmark = pytest.mark.usefixtures('quick_runner')


class Fault(Hook):
    """Change the model before an iteration, counted from 1."""

    def __init__(self, iteration: int, action) -> None:
        self.iteration, self.action = iteration, action

    def before_train_iter(self, runner, **_) -> None:
        if runner.iter + 1 == self.iteration:
            self.action(runner.model)


def lose(value: float):
    """Return an action that sets the loss to ``value`` and keeps the weights finite."""

    def action(model: BaseModel) -> None:
        forward = model.forward
        model.forward = lambda *args, **kwargs: dict(
            loss=0 * forward(*args, **kwargs)['loss'] + value
        )

    return action


def poison_gradient(model: BaseModel) -> None:
    """Make the gradient of a finite loss NaN."""
    model.layers[2].weight.register_hook(lambda gradient: gradient * math.nan)


def diverge(work_dir, fault: Fault, message: str, **options) -> str:
    """Train until the fault; return the message."""
    with pytest.raises(RuntimeError, match=message) as error:
        toy_runner(work_dir, hooks=[fault], **options).train()
    return str(error.value)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, value):
    message = diverge(
        tmp_path, Fault(7, lose(value)), 'epoch 2, iteration 7: the loss is not finite'
    )
    assert f'(loss {value:g})' in message and 'Nothing was saved of it' in message
    assert f'the last good checkpoint is {tmp_path / "epoch_1.pth"}. ' in message
    for cause in ('learning rate', '(now 0.01)', 'values in the data', 'float16'):
        assert cause in message
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_1.pth')


@pytest.mark.parametrize('iteration', [1, 2, 5, 10])
def test_the_iteration_itself_is_not_saved(tmp_path, iteration):
    message = diverge(
        tmp_path,
        Fault(iteration, lose(math.nan)),
        f'iteration {iteration}: ',
        checkpoint=EVERY_ITERATION,
    )
    assert saved_iterations(tmp_path) == [i for i in (iteration - 2, iteration - 1) if i > 0]
    if iteration == 1:
        assert 'no checkpoint was saved before it' in message
    else:
        assert f'iter_{iteration - 1}.pth' in message
        saved = torch.load(newest_checkpoint(str(tmp_path)), weights_only=True)
        assert saved['meta']['iter'] == iteration - 1
        assert all(value.isfinite().all() for value in saved['state_dict'].values())


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The loss before the last step is finite, so only the weights show the fault."""
    message = diverge(
        tmp_path,
        Fault(10, poison_gradient),
        'iteration 10: 1 tensors .* layers.2.weight',
        checkpoint=dict(type='SafeCheckpointHook', interval=1),
    )
    assert 'epoch_1.pth' in message and [path.name for path in tmp_path.glob('*.pth')] == [
        'epoch_1.pth'
    ]


def test_a_sigterm_does_not_save_what_has_diverged(tmp_path):
    def action(model: BaseModel) -> None:
        lose(math.nan)(model)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    try:
        diverge(tmp_path, Fault(7, action), 'iteration 7: the loss')
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


class Skip(Hook):
    """Skip steps with non-finite gradients, as a loss scaler does."""

    def before_train(self, runner) -> None:
        step, self.skipped = runner.optim_wrapper.optimizer.step, 0

        def guarded(*args, **kwargs):
            gradients = [p.grad for p in runner.model.parameters()]
            if all(gradient.isfinite().all() for gradient in gradients):
                return step(*args, **kwargs)
            self.skipped += 1

        runner.optim_wrapper.optimizer.step = guarded


def test_gradients_that_a_scaler_skips_do_not_stop_the_run(tmp_path):
    scaler = Skip()
    toy_runner(tmp_path, hooks=[Fault(7, poison_gradient), scaler]).train()
    assert scaler.skipped == 4 and (tmp_path / 'epoch_2.pth').exists()


def test_a_resumed_run_diverges_again_at_the_same_place_unless_the_cause_is_gone(tmp_path):
    for resume in (False, True):
        diverge(tmp_path, Fault(7, lose(math.nan)), 'epoch 2, iteration 7', resume=resume)
    toy_runner(tmp_path, resume=True).train()
    assert (tmp_path / 'epoch_2.pth').exists()


# the real command

RANKS = """
custom_imports = dict(imports=['aimclr_mm', 'fault_hook'], allow_failed_imports=False)
custom_hooks = [*custom_hooks, dict(type='FaultHook')]
"""

FAULT = '''
import os
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class FaultHook(Hook):
    """The loss of rank 1 alone becomes NaN in iteration 2."""

    def before_train_iter(self, runner, **_):
        if runner.iter == 1 and os.environ['RANK'] == '1':
            runner.model.module.temperature = float('nan')
'''


@pytest.mark.slow
def test_a_learning_rate_that_is_too_high_is_one_line(tmp_path):
    work_dir = tmp_path / 'run'
    process = start(
        write_config(tmp_path), work_dir, '--cfg-options', 'optim_wrapper.optimizer.lr=1e30'
    )
    assert finish(process) == 1
    output = (tmp_path / 'run.log').read_text()
    lines = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and 'Traceback' not in output
    assert re.search(
        r'epoch 1, iteration \d: .*not finite.*learning rate that is too high \(now 1e\+30\)',
        lines[0],
    )
    for path in work_dir.glob('*.pth'):
        state = torch.load(path, weights_only=True)['state_dict']
        assert all(value.isfinite().all() for value in state.values())


@pytest.mark.slow
def test_all_ranks_stop_where_one_diverges(tmp_path):
    (tmp_path / 'fault_hook.py').write_text(FAULT)
    config, work_dir = write_config(tmp_path, RANKS), tmp_path / 'run'
    env = environment(PORT=free_port(), CUDA_VISIBLE_DEVICES='')
    env['PYTHONPATH'] += f'{os.pathsep}{tmp_path}'
    result = subprocess.run(
        ['bash', 'tools/dist_train.sh', config, '2', '--work-dir', work_dir],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    messages = [
        line for line in result.stderr.splitlines() if 'iteration 2: the loss is not finite' in line
    ]
    assert result.returncode != 0 and len(messages) == 2, result.stderr[-3000:]
    assert all('iter_1.pth' in message for message in messages) and saved_iterations(work_dir) == [
        1
    ]
