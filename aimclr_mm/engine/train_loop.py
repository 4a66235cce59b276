"""The training loop: an epoch may be left in its middle, and gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmaction.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from aimclr_mm.engine.hooks.sigterm import SigtermHook


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's loop over epochs, which resumes in the middle of one and ends at a SIGTERM.

    Checkpoints hold how many batches of their epoch are done. A resumed run fetches these batches again and drops
    them, so that the data loader is where it was. Before each batch is fetched the hooks' ``before_fetch`` is called;
    :class:`~aimclr_mm.engine.EpochSeedHook` sets the random numbers there.

    Args:
        runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals: as for mmengine's
            ``EpochBasedTrainLoop``.
    """

    def run(self):
        """Trains.

        Raises:
            ValueError: if the run resumes in the middle of an epoch that had another number of batches.
            SystemExit: after a SIGTERM.
        """
        hub, batches = self.runner.message_hub, len(self.dataloader)
        self._done = hub.runtime_info.get('batch', 0)
        before = hub.runtime_info.get('batches', batches)
        if self._done and batches != before:
            raise ValueError(
                f'the checkpoint was saved after {self._done} of {before} batches of an epoch, and an '
                f'epoch now has {batches}: resume with the same data, batch size and number of ranks, '
                'or from a checkpoint of the end of an epoch (--resume CHECKPOINT)'
            )
        hub.update_info('batches', batches)
        self._stop = SigtermHook()
        self.runner.register_hook(self._stop)
        with self._stop.listening():
            return super().run()

    def run_epoch(self) -> None:
        """Trains for one epoch, or for what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, batch in enumerate(self._batches()):
            if idx >= self._done:
                self.runner.message_hub.update_info('batch', idx + 1)
                self.run_iter(idx, batch)
        self._done = 0
        self.runner.message_hub.update_info('batch', 0)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches(self) -> Iterator[Any]:
        """The batches of an epoch."""
        batches, idx = iter(self.dataloader), 0
        while True:
            self.runner.call_hook('before_fetch', batch_idx=idx)
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (
                RuntimeError
            ):  # a SIGTERM to the whole process group ends the loader's workers too
                self._stop.leave_if_asked(self.runner, self.iter)
                raise
            yield batch
            idx += 1
