"""Provenance of a run: versions, machine, source, data and settings."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aimclr_mm.utils.arguments import check_choice
from aimclr_mm.utils.checksums import sha256
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.processor import processor_name
from aimclr_mm.utils.training_log import PROVENANCE as FILE
from aimclr_mm.utils.training_log import started_runs
from aimclr_mm.version import __version__

PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2', 'numpy')
SETTINGS = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler')


@HOOKS.register_module()
class ProvenanceHook(Hook):
    """Record the provenance of a run in ``provenance.json`` and in each checkpoint.

    A resumed run must have the data of its checkpoint; changes of other settings are warned about.

    Args:
        other_data: what to do if a run resumes with another annotation file or another selection
            of its sequences: ``refuse`` or ``warn``.
    """

    def __init__(self, other_data: str = 'refuse') -> None:
        check_choice('ProvenanceHook: other_data', other_data, ('refuse', 'warn'))
        self.other_data = other_data
        self.resumed: dict = {}
        self.record: dict = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the record of the checkpoint of a resumed run."""
        if runner._resume:
            meta = checkpoint.get('meta')  # SafeCheckpointHook refuses anything but a dict
            self.resumed = meta.get('provenance', {}) if isinstance(meta, dict) else {}

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Record the run, compare it with the checkpoint it resumes from, and write the file.

        Raises:
            ValueError: if the data differ from those of the checkpoint.
        """
        path = os.path.join(runner.work_dir, FILE)
        settings = {name: runner.cfg.get(name) for name in SETTINGS}
        self.record = dict(
            environment=environment(),
            source=source(),
            ranks=get_world_size(),
            data=fingerprint(runner.train_dataloader.dataset),
            settings=json.loads(json.dumps(settings, default=str)),
            runs=[*started_runs(runner.work_dir), runner.timestamp],
        )
        self._compare_data(runner)
        self._compare_settings(runner)
        self._compare_threads(runner)

        with atomic_write(path) as file:
            file.write(json.dumps(self.record, indent=2) + '\n')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the record in the checkpoint."""
        checkpoint['meta']['provenance'] = self.record

    def _compare_data(self, runner: Runner) -> None:
        # a copy of the file elsewhere is the same data
        ignored = ('file', 'changed_ns')  # the latter in checkpoints of older versions
        data = self.resumed.get('data', {})
        before = {key: value for key, value in data.items() if key not in ignored}
        changes = differences(before, {key: self.record['data'].get(key) for key in before})
        if not changes:
            return

        message = f'the data differ from those of the checkpoint ({"; ".join(changes)})'
        if self.other_data == 'refuse':
            raise ValueError(
                f'{message}: train in another --work-dir, with --cfg-options load_from=CHECKPOINT '
                'to start from its weights, or set default_hooks.provenance.other_data=warn'
            )
        runner.logger.warning(message)

    def _compare_settings(self, runner: Runner) -> None:
        if not self.resumed:
            return
        changes = differences(self.resumed.get('settings', {}), self.record['settings'])
        if changes:
            runner.logger.warning(
                f'The settings differ from those of the checkpoint: {"; ".join(changes)}'
            )

    def _compare_threads(self, runner: Runner) -> None:
        threads = self.record['environment']['threads']
        before = self.resumed.get('environment', {}).get('threads', threads)
        if before != threads:
            runner.logger.warning(
                f'The checkpoint was trained with {before} threads, and now there are {threads}: '
                'on a CPU sums are rounded differently, so the result will not be bit-identical; '
                f'set OMP_NUM_THREADS={before} for the same result'
            )


def differences(before: Any, now: Any, name: str = '') -> list[str]:
    """Return the differences of two nested settings, as ``name: before -> now``."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in {**before, **now}
            for line in differences(before.get(key), now.get(key), f'{name}.{key}' if name else key)
        ]
    return [] if before == now else [f'{name}: {before} -> {now}']


def environment() -> dict[str, str | int | None]:
    """Return versions and machine of the run; None for a package that is not installed."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name()
    return dict(
        aimclr_mm=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        device=device,
        cuda=torch.version.cuda,
        threads=torch.get_num_threads(),
        **{package: installed(package) for package in PACKAGES},
    )


def source() -> dict | None:
    """Return the commit of this package and whether it was modified; None without git."""
    folder = str(Path(__file__).resolve().parents[2])

    def git(*command: str) -> str:
        command = ['git', '-C', folder, *command]
        process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return process.stdout.strip()

    try:
        # fails if the package is installed inside another repository
        git('ls-files', '--error-unmatch', '__init__.py')
        changes = git('status', '--porcelain', '--untracked-files=no')
        return dict(commit=git('rev-parse', 'HEAD'), changed=bool(changes))
    except (OSError, subprocess.SubprocessError):
        return None


def fingerprint(dataset: Any) -> dict:
    """Return a fingerprint of the training data: SHA-256 of the file, split, number of sequences.

    Args:
        dataset: training dataset; its ``ann_file`` is read, about 1 s per GB, unless its cache
            holds the checksum of the file that it was made of.
    """
    while not hasattr(dataset, 'ann_file') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    split = getattr(dataset, 'splits', None) or getattr(dataset, 'split', None)
    result = dict(sequences=len(dataset), split=split)

    path = getattr(dataset, 'ann_file', None)
    if not path or not os.path.isfile(path):
        return result
    cached = getattr(dataset, 'cached', None)
    checksum = sha256(path) if cached is None else cached.about['annotation_sha256']
    return {
        **result,
        'file': os.path.abspath(path),
        'bytes': os.path.getsize(path),
        'sha256': checksum,
    }
