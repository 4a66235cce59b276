"""Checks of a distributed run: the total batch size of a resumed run, and the launcher."""

from __future__ import annotations

import os

from mmaction.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class DistributedCheckHook(Hook):
    """Refuse an empty epoch and a resume with another total batch size; exit with the launcher.

    A run may resume on another number of ranks if the total batch size stays the same. A rank whose
    launcher was killed exits.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the total batch size of the checkpoint with that of the run.

        Raises:
            ValueError: if they differ.
        """
        provenance = checkpoint['meta'].get('provenance') or {}
        settings = provenance.get('settings') or {}
        old_size = (settings.get('train_dataloader') or {}).get('batch_size')
        old_ranks = provenance.get('ranks')
        if not runner._resume or not old_ranks or not old_size:
            return

        size, ranks = runner.cfg.train_dataloader.batch_size, get_world_size()
        if old_size * old_ranks != size * ranks:
            quotient, rest = divmod(old_size * old_ranks, ranks)
            remedy = '' if rest else f'set train_dataloader.batch_size={quotient}, '
            raise ValueError(
                f'{runner._load_from!r} was trained with a batch size of {old_size} on each of '
                f'{old_ranks} ranks, {old_size * old_ranks} in total; this run has {size} on each '
                f'of {ranks}, {size * ranks} in total: {remedy}or start a new run from its '
                'weights, in another --work-dir, with --cfg-options load_from=CHECKPOINT'
            )
        if old_ranks != ranks:
            runner.logger.warning(
                f'The checkpoint was trained on {old_ranks} ranks, this run has {ranks}: batches '
                'are the same, but each rank draws its own views, and batch norm sees '
                f'{size} sequences at a time instead of {old_size}'
            )

    def before_train(self, runner: Runner) -> None:
        """Check the number of batches, and remember the launcher.

        Raises:
            ValueError: if an epoch has no batch.
        """
        self.launcher = os.getppid()
        loader = runner.train_dataloader
        if len(loader) == 0:
            raise ValueError(
                f'an epoch has no batch: the {len(loader.dataset)} training sequences of '
                f'{loader.dataset.ann_file!r} do not fill one batch of {loader.batch_size} on each '
                f'of {get_world_size()} ranks, and incomplete batches are dropped; reduce '
                'train_dataloader.batch_size, or set train_dataloader.drop_last=False'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Raise RuntimeError if the launcher was killed, so that no orphaned rank trains on."""
        if runner.distributed and os.getppid() != self.launcher:
            raise RuntimeError(
                'the launcher of this rank has exited, so this rank exits too; start the job again '
                'with --resume'
            )
