"""What happens at a SIGTERM: a checkpoint, and the end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.hooks import Hook

from aimclr_mm.engine.distributed import any_rank

from .safe_checkpoint import INTERRUPTED, save

EXIT_CODE = (
    128 + signal.SIGTERM
)  # 143, by which shells and schedulers know a process that SIGTERM ended
REPEATED = (
    5.0  # seconds; a launcher passes on the signal that a scheduler has sent to its ranks already
)


class SigtermHook(Hook):
    """Saves a checkpoint after the iteration in which a SIGTERM came, and ends the process with exit code 143.

    One rank that got the signal is enough: all save and end after the same iteration. A second signal, more than
    five seconds after the first, ends the process at once. The training loop registers this hook.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.asked: float | None = None  # when the signal came

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catches the signal; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._ask)
        try:
            yield
        finally:
            if self.asked is None:
                signal.signal(signal.SIGTERM, before)

    def _ask(self, *_: object) -> None:
        now = time.monotonic()
        if self.asked is None:
            self.asked = now
            # workers of the data loader that got the signal too: their end must not break into the iteration
            signal.signal(signal.SIGCHLD, lambda *_: None)
        elif now - self.asked > REPEATED:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Ends the run if it is to end, where no gradients are being accumulated."""
        if any_rank(self.asked is not None) and runner.optim_wrapper.should_update():
            self._leave(runner, runner.iter + 1)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Ends the run if it is to end; this validation is not repeated when it resumes."""
        if any_rank(self.asked is not None):
            self._leave(runner, runner.iter)

    def leave_if_asked(self, runner, iterations: int) -> None:
        """Ends the run if this process got the signal."""
        if self.asked is not None:
            self._leave(runner, iterations)

    def _leave(self, runner, iterations: int) -> None:
        path = save(
            runner,
            runner.work_dir,
            INTERRUPTED,
            dict(epoch=runner.epoch, iter=iterations),
            by_epoch=False,
        )
        runner.logger.info(
            f'SIGTERM: saved {path} after iteration {iterations}; --resume goes on from '
            f'there. Exit code {EXIT_CODE}'
        )
        raise SystemExit(EXIT_CODE)
