"""Random seeds as a function of run, epoch, rank and batch."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Makes all random numbers a function of seed, epoch, rank and batch.

    A run that is stopped and resumed draws the same numbers as one that was never stopped: after the end of an epoch
    with any training loop, after any iteration with :class:`~aimclr_mm.engine.ResumableTrainLoop`.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Gives the sampler the seed of the run, which after a resume is that of the checkpoint."""
        sampler = runner.train_dataloader.sampler
        seeds = [runner.seed]
        broadcast_object_list(seeds)  # with --diff-rank-seed each rank has another
        if hasattr(sampler, 'seed'):
            sampler.seed = seeds[0]

    def before_train_epoch(self, runner) -> None:
        """Seeds Python, NumPy and torch; the loader's workers take their seeds from there."""
        torch.manual_seed(self._seed(runner))

    def before_fetch(self, runner, batch_idx: int) -> None:
        """Seeds Python, NumPy and torch."""
        seed = self._seed(runner, batch_idx)
        torch.default_generator.manual_seed(
            seed
        )  # torch.manual_seed takes a quarter of a millisecond
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)

    def _seed(self, runner, *batch: int) -> int:
        """The seed of a batch, or of an epoch; Python and NumPy have got it."""
        seed = int(
            np.random.SeedSequence([runner.seed, runner.epoch, get_rank(), *batch]).generate_state(
                1
            )[0]
        )
        random.seed(seed)
        np.random.seed(seed)
        return seed
