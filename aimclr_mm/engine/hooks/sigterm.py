"""Save a checkpoint and exit on SIGTERM, which schedulers send before the time limit."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.hooks import Hook
from mmengine.runner import Runner

from aimclr_mm.engine.distributed import any_rank

from .safe_checkpoint import INTERRUPTED, save

# 143, the exit code by which shells and schedulers recognize a process ended by SIGTERM
EXIT_CODE = 128 + signal.SIGTERM
# seconds within which a second signal counts as the launcher's copy of the scheduler's
REPEATED = 5.0


class SigtermHook(Hook):
    """Save a checkpoint after the iteration in which SIGTERM arrived, then exit with code 143.

    One rank that received the signal is enough: all ranks save and exit after the same iteration. A
    second signal, more than five seconds after the first, ends the process at once. The training
    loop registers this hook.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.received: float | None = None  # time of the first signal

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGTERM inside the context; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        before = signal.signal(signal.SIGTERM, self._receive)
        try:
            yield
        finally:
            if self.received is None:
                signal.signal(signal.SIGTERM, before)

    def _receive(self, *_: object) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received = now
            # dataloader workers may get the signal too; PyTorch's handler for their exit would
            # interrupt the iteration
            signal.signal(signal.SIGCHLD, lambda *_: None)
        elif now - self.received > REPEATED:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Exit if the signal has arrived, except between accumulated gradients."""
        if any_rank(self.received is not None) and runner.optim_wrapper.should_update():
            self._exit(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Exit if the signal has arrived; a resumed run does not repeat this validation."""
        if any_rank(self.received is not None):
            self._exit(runner, runner.iter)

    def exit_if_received(self, runner: Runner, iterations: int) -> None:
        """Exit if this process has received the signal."""
        if self.received is not None:
            self._exit(runner, iterations)

    def _exit(self, runner: Runner, iterations: int) -> None:
        meta = dict(epoch=runner.epoch, iter=iterations)
        path = save(runner, runner.work_dir, INTERRUPTED, meta, by_epoch=False)
        runner.logger.info(
            f'SIGTERM: saved {path} after iteration {iterations}; --resume continues from it. '
            f'Exit code {EXIT_CODE}'
        )
        raise SystemExit(EXIT_CODE)
