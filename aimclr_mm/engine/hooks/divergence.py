"""A training that has diverged ends, with what it knew before."""

from __future__ import annotations

import math

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook

from aimclr_mm.engine.distributed import any_rank

from .safe_checkpoint import newest_checkpoint


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Ends a run whose loss, weights or queue are not finite, before a checkpoint is saved of it.

    The losses are those that mmengine has logged, so that no device waits. A gradient that is not finite is left to the
    loss scaler of float16, which skips it; without a scaler it shows in the weights.
    """

    priority = 'HIGH'  # after the losses are logged, before anything is saved

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Raises RuntimeError, on all ranks, if a loss of any rank is not finite."""
        losses = {
            name: runner.message_hub.get_scalar(f'train/{name}').current()
            for name in outputs or ()
            if 'loss' in name
        }
        if any_rank(not all(map(math.isfinite, losses.values()))):
            shown = ', '.join(f'{name} {value:g}' for name, value in losses.items())
            raise self._error(
                runner, f'the loss is not finite ({shown}) on this rank or another', runner.iter + 1
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Raises RuntimeError if a tensor of the model is not finite."""
        bad = [
            name
            for name, value in checkpoint['state_dict'].items()
            if value.is_floating_point() and not torch.isfinite(value).all()
        ]
        if bad:
            raise self._error(
                runner,
                f'{len(bad)} tensors of the model are not finite, {bad[0]} for one',
                checkpoint['meta']['iter'],
            )

    @staticmethod
    def _error(runner, what: str, iteration: int) -> RuntimeError:
        last = newest_checkpoint(runner.work_dir)
        rates = ', '.join(
            f'{rate:g}' for rates in runner.optim_wrapper.get_lr().values() for rate in rates
        )
        return RuntimeError(
            f'epoch {runner.epoch + 1}, iteration {iteration}: {what}. Nothing was saved of it; '
            + (
                f'the last good checkpoint is {last}. '
                if last
                else 'no checkpoint was saved before it. '
            )
            + f'Likely causes: a learning rate that is too high (now {rates}), NaN or infinite values in the data, '
            'the range of float16 (--amp on a GPU). Change the cause, or the run will diverge again'
        )
