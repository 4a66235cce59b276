"""Atomic checkpoints, and the search for the newest intact one."""

from __future__ import annotations

import os
import re
from collections import deque
from glob import escape, glob
from typing import Any

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
from mmengine.runner import Runner

from aimclr_mm.checkpoints.loading import load_weights
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.engine.distributed import batch_norm_statistics, unwrap
from aimclr_mm.engine.resume_checks import NEEDED, check_resume
from aimclr_mm.utils.files import atomic_write, open_regular

INTERRUPTED = 'interrupted.pth'  # saved on SIGTERM, deleted after the next checkpoint
BEST = re.compile(r'best_[^/\\]+\.pth')  # names of the files that the hook writes


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """mmengine's backend of local files with atomic writes."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write a file atomically."""
        with atomic_write(os.fspath(filepath), 'wb') as file:
            file.write(obj)


def save(runner: Runner, folder: str, name: str, meta: dict, **options: Any) -> str:
    """Save a checkpoint atomically and name it in ``last_checkpoint``; a collective operation.

    Args:
        runner: mmengine's runner.
        folder: folder of the checkpoint.
        name: its file name.
        meta: epoch and iteration.
        **options: options of ``Runner.save_checkpoint``.

    Returns:
        The path of the checkpoint.
    """
    runner.call_hook('flush_scalars')  # a loss that is not finite stops the run before it is saved
    path = os.path.join(folder, name)
    if runner.message_hub.runtime_info.get('batch'):  # within an epoch
        meta = {**meta, 'statistics_of_ranks': batch_norm_statistics(runner.model)}

    options.setdefault('backend_args', dict(backend='atomic'))
    runner.save_checkpoint(folder, name, meta=meta, **options)
    if is_main_process():
        with atomic_write(os.path.join(runner.work_dir, 'last_checkpoint')) as file:
            file.write(path)
    return path


def newest_checkpoint(*folders: str) -> str | None:
    """Return the intact checkpoint of the latest iteration that can be resumed, or None.

    Damaged checkpoints that are skipped on the way are named in warnings.

    Args:
        *folders: folders with checkpoints of a run.

    Raises:
        OSError: if a checkpoint cannot be opened. It may be the newest one, and intact.
        RuntimeError: if there are checkpoints, but none is intact.
    """
    logger = MMLogger.get_current_instance()
    damaged, positions = [], {}

    for path in {p for folder in folders for p in glob(os.path.join(escape(folder), '*.pth'))}:
        _check_openable(path)
        try:
            positions[path] = _position(path)
        except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
            damaged.append(path)
            logger.warning(f'{path} is damaged and skipped: {error}')

    resumable = [path for path in positions if positions[path] is not None]
    for path in sorted(resumable, key=positions.get, reverse=True):
        try:
            load_checkpoint_file(path)
            return path
        except Exception as error:  # noqa: BLE001
            damaged.append(path)
            logger.warning(f'{path} is damaged and skipped: {error}')

    if damaged:
        raise RuntimeError(
            f'no checkpoint in {" and ".join(folders)} is intact, for example {damaged[0]}: delete '
            'them to start from scratch, or name another with --resume CHECKPOINT'
        )
    return None


def _check_openable(path: str) -> None:
    """Raise OSError if a file cannot be opened."""
    if os.path.exists(path) and not os.path.isfile(path):  # a folder or a pipe
        return
    try:
        with open_regular(path) as file:
            file.read(1)
    except OSError as error:
        raise OSError(
            error.errno,
            f'it cannot be opened ({error.strerror}), so the newest checkpoint is not known; make '
            'it readable, move it away, or name another with --resume CHECKPOINT',
            path,
        ) from error


def _position(path: str) -> tuple[int, int, float] | None:
    """Return iteration, epoch and time of a checkpoint without reading its tensors.

    None if it cannot be resumed.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    content = load_checkpoint_file(path, tensors=False)
    if not all(key in content for key in NEEDED):
        return None
    return int(content['meta']['iter']), int(content['meta']['epoch']), os.path.getmtime(path)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, safe against a kill at any moment.

    Checkpoints are written atomically, and older ones are deleted only afterwards. A run that
    resumes without a named checkpoint takes the newest intact one in its work directory, the same
    on all ranks, or starts from scratch if there is none. Checkpoints, also those of ``load_from``,
    are loaded strictly.

    Args:
        *args, **kwargs: see mmengine's ``CheckpointHook``; ``backend_args`` selects atomic writes
            if not given.
    """

    def __init__(self, *args: Any, backend_args: dict | None = None, **kwargs: Any) -> None:
        backend_args = backend_args or dict(backend='atomic')
        super().__init__(*args, backend_args=backend_args, **kwargs)

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint to resume from."""
        if not runner._resume and glob(os.path.join(escape(runner.work_dir), '*.pth')):
            runner.logger.warning(
                f'{runner.work_dir} holds checkpoints of an earlier run, and a later --resume '
                'takes that of the latest iteration: give each run its own --work-dir'
            )
        if not runner._resume or runner._load_from is not None:
            return

        folders = [runner.work_dir]
        if self.out_dir is not None:
            run = os.path.basename(os.path.normpath(runner.work_dir))
            folders.append(os.path.join(self.out_dir, run))
        found = [newest_checkpoint(*folders) if is_main_process() else None]
        broadcast_object_list(found)

        runner._load_from = found[0]
        runner._resume = found[0] is not None
        if not runner._resume:
            runner.logger.info(
                f'No checkpoint in {runner.work_dir} to resume from: training starts from scratch'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check a checkpoint strictly; on a resume restore the batch-norm statistics per rank."""
        filename = runner._load_from
        if runner._resume:
            try:
                check_resume(runner, checkpoint)
            except ValueError as error:
                raise ValueError(
                    f'checkpoint {filename!r}: {error}. So training cannot resume from it: take '
                    'another one, or load its weights with --cfg-options load_from=CHECKPOINT'
                ) from error
        load_weights(unwrap(runner.model), checkpoint, filename)

        if runner._resume:
            statistics = checkpoint['meta'].get('statistics_of_ranks', [])
            if len(statistics) == get_world_size():
                checkpoint['state_dict'].update(statistics[get_rank()])
                load_weights(unwrap(runner.model), checkpoint, filename)

    def before_train(self, runner: Runner) -> None:
        """Prepare the hook, and delete temporary files of a killed run."""
        super().before_train(runner)
        self._find_best(runner)
        if is_main_process():
            for path in glob(os.path.join(escape(runner.work_dir), '*.tmp')):
                if re.search(r'\.\d+\.tmp$', path):
                    os.remove(path)

    def _find_best(self, runner: Runner) -> None:
        """Continue with the best checkpoints of a resumed run if they are in its own folder.

        The checkpoint only gives their names, see :func:`load_checkpoint_file`.
        """
        if not self.save_best:
            return
        paths = {}
        for metric in self._best():
            name = runner.message_hub.runtime_info.pop(f'name_of_{_best_key(metric)}', '')
            path = os.path.join(self.out_dir, name)
            is_own = BEST.fullmatch(name) and os.path.isfile(path) and not os.path.islink(path)
            paths[metric] = path if is_own else None
            if is_own:
                runner.message_hub.update_info(_best_key(metric), path)
            elif name:
                runner.logger.warning(
                    f'The best checkpoint of the resumed run, {name!r}, is not in {self.out_dir}; '
                    'it stays where it is, and the next better one is saved here'
                )
        self._set_best(paths)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save a checkpoint, then delete outdated ones."""
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
            backend_args=self.backend_args,
            **self.args,
        )

        names = [self.filename_tmpl.format(old) for old in outdated]
        _delete(*(os.path.join(self.out_dir, name) for name in names))
        _delete(os.path.join(runner.work_dir, INTERRUPTED))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save a new best checkpoint, then delete the one before."""
        if not self.save_best:
            return

        before = self._best()
        self._set_best(dict.fromkeys(before))  # mmengine would delete the old ones first
        super()._save_best_checkpoint(runner, metrics)
        now = self._best()
        self._set_best({metric: now[metric] or before[metric] for metric in before})

        replaced = [metric for metric in before if before[metric] and now[metric]]
        _delete(*(before[metric] for metric in replaced if now[metric] != before[metric]))

    def _best(self) -> dict[str, str | None]:
        """Return the path of the best checkpoint by metric."""
        if len(self.key_indicators) == 1:
            return {'': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = paths.values()
        else:
            self.best_ckpt_path_dict = paths


def _best_key(metric: str) -> str:
    """Return mmengine's name for the path of the best checkpoint of a metric."""
    return f'best_ckpt_{metric}' if metric else 'best_ckpt'


@master_only
def _delete(*paths: str) -> None:
    for path in paths:
        if os.path.isfile(path):
            os.remove(path)
