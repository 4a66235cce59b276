"""What a run on several ranks needs: the batch that it had before, and a launcher that is still there."""

from __future__ import annotations

import os

from mmaction.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook


@HOOKS.register_module()
class DistributedCheckHook(Hook):
    """Refuses a run that has no batch to train on, or another one than the checkpoint it goes on from.

    A run may go on on another number of ranks as long as all together have the batch that they had. A rank whose
    launcher has gone ends.
    """

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Compares the checkpoint with the run.

        Raises:
            ValueError: if all ranks together have another batch than before.
        """
        if not runner._resume:
            return
        before = checkpoint['meta'].get('provenance') or {}
        ranks, loader = (
            before.get('ranks'),
            (before.get('settings') or {}).get('train_dataloader') or {},
        )
        if not ranks or not loader.get('batch_size'):
            return
        size, now_ranks = runner.cfg.train_dataloader.batch_size, get_world_size()
        total, rest = divmod(loader['batch_size'] * ranks, now_ranks)
        if loader['batch_size'] * ranks != size * now_ranks:
            remedy = f'set train_dataloader.batch_size={total}, ' if not rest else ''
            raise ValueError(
                f'{runner._load_from!r} was trained with batches of {loader["batch_size"]} on each of {ranks} ranks, '
                f'{loader["batch_size"] * ranks} in all; now it would be {size} on each of {now_ranks}, '
                f'{size * now_ranks} in all: {remedy}or begin a new run with its weights, in another --work-dir, by '
                '--cfg-options load_from=CHECKPOINT'
            )
        if ranks != now_ranks:
            runner.logger.warning(
                f'The checkpoint was trained on {ranks} ranks, this run has {now_ranks}: batches '
                'are the same, but each rank draws its own views, and batch norm sees '
                f'{size} sequences at a time in place of {loader["batch_size"]}'
            )

    def before_train(self, runner) -> None:
        """Looks at the number of batches; remembers the launcher.

        Raises:
            ValueError: if an epoch would have no batch.
        """
        self.launcher = os.getppid()
        loader, ranks = runner.train_dataloader, get_world_size()
        if len(loader) == 0:
            raise ValueError(
                f'an epoch has no batch: the {len(loader.dataset)} sequences of {loader.dataset.ann_file!r} to train '
                f'on do not fill one of {loader.batch_size} on each of {ranks} ranks, and what remains is left out; '
                'make train_dataloader.batch_size smaller, or set train_dataloader.drop_last=False'
            )

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Ends a rank whose launcher was killed, so that it does not train on unseen.

        Raises:
            RuntimeError: if that is so.
        """
        if runner.distributed and os.getppid() != self.launcher:
            raise RuntimeError(
                'the launcher of this rank has ended, so this rank ends too; start the job anew with '
                '--resume'
            )
