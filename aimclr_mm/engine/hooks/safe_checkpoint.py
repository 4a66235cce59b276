"""Checkpoints that are written whole or not at all, and found again after a kill at any moment."""

from __future__ import annotations

import os
import re
import zipfile
from collections import deque
from collections.abc import Callable
from glob import escape, glob
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import (
    broadcast_object_list,
    get_rank,
    get_world_size,
    is_main_process,
    master_only,
)
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger

from aimclr_mm.checkpoints.loading import load_weights
from aimclr_mm.checkpoints.safe_reading import check_checkpoint, load_checkpoint_file
from aimclr_mm.engine.distributed import statistics_of_ranks, unwrap
from aimclr_mm.utils.files import atomic_write

INTERRUPTED = 'interrupted.pth'  # saved at a SIGTERM, deleted when the next checkpoint stands
RESUMABLE = ('meta', 'state_dict', 'message_hub', 'optimizer')


@register_backend('local', force=True, prefixes='')
class AtomicBackend(LocalBackend):
    """mmengine's access to local files, with files that are written whole or not at all."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Writes a file."""
        with atomic_write(os.fspath(filepath), 'wb') as file:
            file.write(obj)


def save(runner, folder: str, name: str, meta: dict, **options: Any) -> str:
    """Saves a checkpoint and names it in ``last_checkpoint``; all ranks must call it.

    Args:
        runner: mmengine's.
        folder: of the checkpoint.
        name: its file name.
        meta: epoch and iteration.
        **options: of mmengine's ``Runner.save_checkpoint``.

    Returns:
        The path.
    """
    path = os.path.join(folder, name)
    if runner.message_hub.runtime_info.get('batch'):  # in the middle of an epoch
        meta = {**meta, 'statistics_of_ranks': statistics_of_ranks(runner.model)}
    runner.save_checkpoint(folder, name, meta=meta, **options)
    if is_main_process():
        with atomic_write(os.path.join(runner.work_dir, 'last_checkpoint')) as file:
            file.write(path)
    return path


def _position(path: str) -> tuple[int, int, float] | None:
    """Iteration, epoch and time of a checkpoint, found without reading its tensors; None if it cannot be resumed.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    check_checkpoint(path)
    content = torch.load(path, map_location='cpu', mmap=True, weights_only=True)
    if not all(key in content for key in RESUMABLE):
        return None
    return int(content['meta']['iter']), int(content['meta']['epoch']), os.path.getmtime(path)


def _check_whole(path: str) -> None:
    """Raises an error of any kind if a checkpoint does not hold what was written."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch itself does not compare checksums
    if damaged is not None:
        raise ValueError(f'the checksum of {damaged} is wrong')
    load_checkpoint_file(path)


def newest_checkpoint(*folders: str) -> str | None:
    """The checkpoint of the latest iteration in some folders that is whole and can be resumed; None if there is none.

    A warning names each damaged one that was looked at.

    Args:
        *folders: where a training has saved its checkpoints.

    Raises:
        RuntimeError: if there are checkpoints, but none is whole.
    """
    damaged, positions = [], {}

    def intact(check: Callable, path: str) -> bool:
        try:
            positions[path] = check(path) or positions.get(path)
        except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
            damaged.append(path)
            MMLogger.get_current_instance().warning(f'{path} is damaged and passed over: {error}')
            return False
        return positions[path] is not None

    paths = {path for folder in folders for path in glob(os.path.join(escape(folder), '*.pth'))}
    for path in sorted(
        (path for path in paths if intact(_position, path)), key=positions.get, reverse=True
    ):
        if intact(_check_whole, path):
            return path
    if damaged:
        raise RuntimeError(
            f'no checkpoint in {" and ".join(folders)} is whole, {damaged[0]} for one: delete them to '
            'begin anew, or name another with --resume CHECKPOINT'
        )
    return None


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's hook, without a moment at which a kill would leave no checkpoint.

    A checkpoint takes its place when it stands as a whole, and only then older ones are deleted. A run that resumes
    without being told from what does so from the newest whole checkpoint in its work directory, on all ranks from the
    same, and begins anew where there is none. All tensors of a checkpoint must fit the model, also of one whose weights
    a new run begins with (``load_from``).

    Args:
        **kwargs: as for mmengine's ``CheckpointHook``.
    """

    def before_run(self, runner) -> None:
        """Chooses the checkpoint to resume from."""
        if not runner._resume and glob(os.path.join(escape(runner.work_dir), '*.pth')):
            runner.logger.warning(
                f'{runner.work_dir} holds checkpoints of an earlier run, and a later --resume takes '
                'that of the latest iteration: give each run its own --work-dir'
            )
        if not runner._resume or runner._load_from is not None:
            return
        folders = [runner.work_dir]
        if self.out_dir is not None:
            folders.append(
                os.path.join(self.out_dir, os.path.basename(os.path.normpath(runner.work_dir)))
            )
        found = [newest_checkpoint(*folders) if is_main_process() else None]
        broadcast_object_list(found)
        runner._load_from, runner._resume = found[0], found[0] is not None
        if not runner._resume:
            runner.logger.info(
                f'There is no checkpoint in {runner.work_dir} to resume from: training begins anew'
            )

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Checks that a checkpoint fits; a run that goes on from it gets the statistics of batch norm of each rank."""
        if not runner._resume:
            load_weights(unwrap(runner.model), checkpoint, runner._load_from)
            return
        missing = [key for key in RESUMABLE if key not in checkpoint]
        if missing:
            raise ValueError(
                f'checkpoint {runner._load_from!r} holds no {", ".join(missing)}, so that no training can '
                'go on from it; take its weights with --cfg-options load_from=CHECKPOINT'
            )
        load_weights(unwrap(runner.model), checkpoint, runner._load_from)
        statistics = checkpoint['meta'].get('statistics_of_ranks', [])
        if len(statistics) == get_world_size():
            checkpoint['state_dict'].update(statistics[get_rank()])

    def before_train(self, runner) -> None:
        """Prepares, and deletes what a killed run has left half written."""
        super().before_train(runner)
        if is_main_process():
            for path in glob(os.path.join(escape(runner.work_dir), '*.tmp')):
                if re.search(r'\.\d+\.tmp$', path):
                    os.remove(path)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Saves, then deletes what is outdated."""
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            steps = [*self.keep_ckpt_ids, step]
            outdated = steps[: -self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(steps[-self.max_keep_ckpts :], self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = os.path.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        save(
            runner,
            self.out_dir,
            name,
            meta,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            by_epoch=self.by_epoch,
            **self.args,
        )
        _delete(
            *(os.path.join(self.out_dir, self.filename_tmpl.format(old)) for old in outdated),
            os.path.join(runner.work_dir, INTERRUPTED),
        )

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        """Saves the best checkpoint if there is a new one, then deletes the one before."""
        if not self.save_best:
            return
        before = self._best()
        self._set_best(dict.fromkeys(before))  # mmengine would delete these first
        super()._save_best_checkpoint(runner, metrics)
        now = self._best()
        self._set_best({name: now[name] or before[name] for name in before})
        _delete(
            *(
                before[name]
                for name in before
                if before[name] and now[name] not in (None, before[name])
            )
        )

    def _best(self) -> dict[str, str | None]:
        """The best checkpoint by each metric."""
        if len(self.key_indicators) == 1:
            return {'': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = paths.values()
        else:
            self.best_ckpt_path_dict = paths


@master_only
def _delete(*paths: str) -> None:
    for path in paths:
        if os.path.isfile(path):
            os.remove(path)
