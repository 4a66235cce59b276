"""Random seeds as a function of run, epoch, rank and batch."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed all random number generators from (run seed, epoch, rank, batch).

    A run that is stopped and resumed draws the same numbers as an uninterrupted one: at epoch
    boundaries with any training loop, at any iteration with
    :class:`~aimclr_mm.engine.ResumableTrainLoop`.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Pass the seed of the run to the sampler; after a resume it is that of the checkpoint."""
        sampler = runner.train_dataloader.sampler
        seeds = [runner.seed]
        broadcast_object_list(seeds)  # --diff-rank-seed gives each rank a seed of its own
        if hasattr(sampler, 'seed'):
            sampler.seed = seeds[0]

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed Python, NumPy and PyTorch; dataloader workers derive their seeds from PyTorch's."""
        torch.manual_seed(self._seed(runner))

    def before_fetch(self, runner: Runner, batch_idx: int) -> None:
        """Seed Python, NumPy and PyTorch for a batch."""
        seed = self._seed(runner, batch_idx)
        # torch.manual_seed would take 0.25 ms per batch
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)

    def _seed(self, runner: Runner, *batch: int) -> int:
        """Seed Python and NumPy; return the seed of the batch, or of the epoch."""
        sequence = np.random.SeedSequence([runner.seed, runner.epoch, get_rank(), *batch])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        return seed
