"""Losses for the log, read from a GPU once per iteration and one iteration late."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from aimclr_mm.utils.device import is_cpu


class PendingScalars:
    """Scalars on their way from a GPU, copied together and without a wait.

    Args:
        scalars: tensors of one element by name, all on the same device.
    """

    def __init__(self, scalars: Mapping[str, Tensor]) -> None:
        self.names = list(scalars)
        values = torch.stack([value.detach().double().flatten()[0] for value in scalars.values()])
        self.values = values.to('cpu', non_blocking=True)
        self.copied = torch.cuda.Event() if values.is_cuda else None
        if self.copied is not None:
            self.copied.record()

    def read(self) -> dict[str, float]:
        """Return the scalars; wait for them if they have not arrived."""
        if self.copied is not None:
            self.copied.synchronize()
        return dict(zip(self.names, self.values.tolist()))


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):
    """mmengine's hook without a wait for the GPU in every iteration.

    mmengine reads each loss as soon as it is requested: the GPU then idles while the next iteration
    is prepared. Here the losses of an iteration are read after the next one, and at once where they
    are needed: for a log line, at the end of an epoch and before a checkpoint is saved
    (``flush_scalars``, called by :func:`~aimclr_mm.engine.hooks.safe_checkpoint.save`). The log is
    the same. On a CPU nothing is deferred.
    """

    def before_train(self, runner: Runner) -> None:
        """Log the state of the training, and find the interval of log lines."""
        super().before_train(runner)
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._log_interval = min(intervals, default=1)
        self._pending: PendingScalars | None = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Log the losses of the last iteration, and request those of this one."""
        self.flush_scalars(runner)
        if not outputs or all(is_cpu(value) for value in outputs.values()):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            return

        self._pending = PendingScalars(outputs)
        end_of_epoch = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if end_of_epoch or self.every_n_inner_iters(batch_idx, self._log_interval):
            self.flush_scalars(runner)

    def flush_scalars(self, runner: Runner) -> None:
        """Log the losses that have been requested."""
        if self._pending is None:
            return
        for name, value in self._pending.read().items():
            runner.message_hub.update_scalar(f'train/{name}', value)
        self._pending = None
