"""Training loop that resumes in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mmaction.registry import LOOPS
from mmengine.model import BaseModel
from mmengine.runner import EpochBasedTrainLoop

from aimclr_mm.engine.hooks.sigterm import SigtermHook

from .graphed_step import GraphedStep, obstacle
from .validation_check import check_validation


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch-based loop with resume within an epoch and a checkpoint on SIGTERM.

    Checkpoints hold the number of finished batches of their epoch. A resumed run fetches these
    batches again and drops them, so that the dataloader is in the same state. The hook method
    ``before_fetch`` is called before each batch is fetched;
    :class:`~aimclr_mm.engine.EpochSeedHook` sets the random seeds there.

    Args:
        runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals: see mmengine's
            ``EpochBasedTrainLoop``.
        cuda_graph: whether to replay each step on a GPU as one CUDA graph
            (:class:`~aimclr_mm.engine.GraphedStep`); where that is not possible the log says why.
    """

    def __init__(self, *args: Any, cuda_graph: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cuda_graph = cuda_graph

    def run(self) -> BaseModel:
        """Train, and return the model.

        Raises:
            ValueError: if the run resumes within an epoch that had another number of batches, or
                the validation lacks labels or a pair of splits.
            SystemExit: after SIGTERM.
        """
        check_validation(self.runner)
        hub = self.runner.message_hub
        batches = len(self.dataloader)
        self._done = hub.runtime_info.get('batch', 0)

        before = hub.runtime_info.get('batches', batches)
        if self._done and batches != before:
            raise ValueError(
                f'the checkpoint was saved after {self._done} of {before} batches of an epoch, and '
                f'an epoch now has {batches}: resume with the same data, batch size and number of '
                'ranks, or from a checkpoint of the end of an epoch (--resume CHECKPOINT)'
            )
        hub.update_info('batches', batches)
        self._step = self._choose_step()

        self._sigterm = SigtermHook()
        self.runner.register_hook(self._sigterm)
        with self._sigterm.listening():
            return super().run()

    def run_epoch(self) -> None:
        """Train for one epoch, or for the rest of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()

        for index, batch in enumerate(self._batches()):
            if index >= self._done:
                self.runner.message_hub.update_info('batch', index + 1)
                self.run_iter(index, batch)

        self._done = 0
        self.runner.message_hub.update_info('batch', 0)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Train for one step."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self._step(data_batch)
        self.runner.call_hook(
            'after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )
        self._iter += 1

    def _choose_step(self) -> Callable[[Any], dict]:
        """Return the function that trains with a batch."""
        model, optim_wrapper = self.runner.model, self.runner.optim_wrapper
        if self.cuda_graph and next(model.parameters()).is_cuda:
            reason = obstacle(model, optim_wrapper)
            if reason is None:
                return GraphedStep(model, optim_wrapper)
            self.runner.logger.info(f'Training without CUDA graphs: {reason}')
        return partial(model.train_step, optim_wrapper=optim_wrapper)

    def _batches(self) -> Iterator[Any]:
        """Yield the batches of an epoch."""
        batches = iter(self.dataloader)
        index = 0
        while True:
            self.runner.call_hook('before_fetch', batch_idx=index)
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError:
                # a SIGTERM to the process group also ends the dataloader workers
                self._sigterm.exit_if_received(self.runner, self.iter)
                raise
            yield batch
            index += 1
