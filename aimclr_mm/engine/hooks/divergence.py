"""Stop a training run that has diverged."""

from __future__ import annotations

import math

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aimclr_mm.engine.distributed import any_rank

from .safe_checkpoint import newest_checkpoint


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Stop a run whose loss, weights or memory bank are not finite, before they are saved.

    The losses are read from mmengine's log, which saves a device synchronization; on a GPU they are
    one iteration late (:class:`~aimclr_mm.engine.DeferredRuntimeInfoHook`), but not when a
    checkpoint is saved. Non-finite gradients are left to the loss scaler of float16, which skips
    the update; without a scaler they show in the weights.
    """

    priority = 'HIGH'  # after the losses are logged, before a checkpoint is saved

    def __init__(self) -> None:
        self._names: list[str] = []  # of the losses in the log

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Raise RuntimeError, on all ranks, if a loss is not finite on any rank."""
        self._names = [name for name in outputs or () if 'loss' in name]
        self._check_losses(runner)

    def flush_scalars(self, runner: Runner) -> None:
        """Check the losses that are logged before a checkpoint is saved."""
        self._check_losses(runner)

    def _check_losses(self, runner: Runner) -> None:
        """Raise RuntimeError if the last logged losses are not finite; a collective operation."""
        log = runner.message_hub.log_scalars
        losses = {
            name: log[f'train/{name}'].current() for name in self._names if f'train/{name}' in log
        }
        if any_rank(not all(map(math.isfinite, losses.values()))):
            values = ', '.join(f'{name} {value:g}' for name, value in losses.items())
            problem = f'the loss is not finite ({values}) on this rank or another'
            raise diverged(runner, problem, runner.iter + 1)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise RuntimeError if a tensor of the model is not finite."""
        bad = [
            name
            for name, value in checkpoint['state_dict'].items()
            if value.is_floating_point() and not torch.isfinite(value).all()
        ]
        if bad:
            problem = f'{len(bad)} tensors of the model are not finite, for example {bad[0]}'
            raise diverged(runner, problem, checkpoint['meta']['iter'])


def diverged(runner: Runner, problem: str, iteration: int) -> RuntimeError:
    """Return the error that names the last good checkpoint and likely causes."""
    last = newest_checkpoint(runner.work_dir)
    found = f'the last good checkpoint is {last}' if last else 'no checkpoint was saved before it'
    rates = ', '.join(
        f'{rate:g}' for group in runner.optim_wrapper.get_lr().values() for rate in group
    )
    return RuntimeError(
        f'epoch {runner.epoch + 1}, iteration {iteration}: {problem}. Nothing was saved of it; '
        f'{found}. Likely causes: a learning rate that is too high (now {rates}), NaN or infinite '
        'values in the data, the range of float16 (AmpOptimWrapper). Change the cause, or the run '
        'will diverge again'
    )
