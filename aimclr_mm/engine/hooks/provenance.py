"""Where a checkpoint comes from: versions, machine, source, data and settings."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook

from aimclr_mm.utils.files import atomic_write, read_json
from aimclr_mm.utils.processor import processor
from aimclr_mm.version import __version__

PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2', 'numpy')
SETTINGS = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler')
FILE = 'provenance.json'


@HOOKS.register_module()
class ProvenanceHook(Hook):
    """Stores where a run comes from, in ``provenance.json`` of the work directory and in each checkpoint.

    A resumed run must have the data of its checkpoint; other settings than those it was trained with are named in a
    warning.

    Args:
        other_data: ``refuse`` or ``warn``, where a run resumes with another annotation file or another selection of it.
    """

    def __init__(self, other_data: str = 'refuse') -> None:
        if other_data not in ('refuse', 'warn'):
            raise ValueError(
                f"ProvenanceHook: other_data={other_data!r}; known are 'refuse' and 'warn'"
            )
        self.other_data = other_data
        self.resumed: dict = {}
        self.record: dict = {}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keeps what the checkpoint of a resumed run says."""
        if runner._resume:
            self.resumed = checkpoint.get('meta', {}).get('provenance', {})

    @master_only
    def before_train(self, runner) -> None:
        """Describes the run, compares it with the checkpoint that it resumes from, and writes it down.

        Raises:
            ValueError: if the data are not those of the checkpoint.
        """
        path = os.path.join(runner.work_dir, FILE)
        self.record = dict(
            environment=environment(),
            source=source(),
            ranks=get_world_size(),
            data=fingerprint(runner.train_dataloader.dataset, _data_in(path)),
            settings={
                name: json.loads(json.dumps(runner.cfg.get(name), default=str)) for name in SETTINGS
            },
        )
        self._compare(runner)
        with atomic_write(path) as file:
            file.write(json.dumps(self.record, indent=2) + '\n')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Stores the description in the checkpoint."""
        checkpoint['meta']['provenance'] = self.record

    def _compare(self, runner) -> None:
        ignored = ('file', 'changed_ns')  # a copy elsewhere is as good
        before = {
            key: value for key, value in self.resumed.get('data', {}).items() if key not in ignored
        }
        changes = differences(before, {key: self.record['data'].get(key) for key in before})
        if changes:
            message = f'the data are not those that the checkpoint was trained with ({"; ".join(changes)})'
            if self.other_data == 'refuse':
                raise ValueError(
                    f'{message}: train in another --work-dir, with --cfg-options load_from=CHECKPOINT to '
                    'begin with its weights, or set default_hooks.provenance.other_data=warn'
                )
            runner.logger.warning(message)
        changes = (
            differences(self.resumed.get('settings', {}), self.record['settings'])
            if self.resumed
            else []
        )
        if changes:
            runner.logger.warning(
                f'The settings are not those of the checkpoint: {"; ".join(changes)}'
            )


def differences(before: Any, now: Any, name: str = '') -> list[str]:
    """What differs between two settings, one line each: ``name: before -> now``."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in {**before, **now}
            for line in differences(before.get(key), now.get(key), f'{name}.{key}' if name else key)
        ]
    return [] if before == now else [f'{name}: {before} -> {now}']


def environment() -> dict[str, str | None]:
    """Versions of what the run depends on, and its machine; None for what is not installed."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor().name
    return dict(
        aimclr_mm=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        device=device,
        cuda=torch.version.cuda,
        **{package: installed(package) for package in PACKAGES},
    )


def source() -> dict | None:
    """Commit of this package's source and whether files differ from it; None where it is not under version control."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

    def git(*command: str) -> str:
        return subprocess.run(
            ['git', '-C', folder, *command], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        git(
            'ls-files', '--error-unmatch', '__init__.py'
        )  # or it is somebody else's repository around it
        return dict(
            commit=git('rev-parse', 'HEAD'),
            changed=bool(git('status', '--porcelain', '--untracked-files=no')),
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _data_in(path: str) -> dict:
    """The data that an earlier run has written down; empty if there is none."""
    try:
        return read_json(path)['data']
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def fingerprint(dataset: Any, known: dict | None = None) -> dict:
    """What identifies the data of a run: SHA-256 of the annotation file, split, number of sequences.

    Args:
        dataset: of the training; its ``ann_file`` is read, about a second for each GB.
        known: an earlier fingerprint; its checksum is taken where file, size and time are the same.
    """
    while not hasattr(dataset, 'ann_file') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    result = dict(
        sequences=len(dataset),
        split=getattr(dataset, 'splits', None) or getattr(dataset, 'split', None),
    )
    path = getattr(dataset, 'ann_file', None)
    if not path or not os.path.isfile(path):
        return result
    status = os.stat(path)
    result.update(file=os.path.abspath(path), bytes=status.st_size, changed_ns=status.st_mtime_ns)
    if (
        known
        and all(known.get(key) == result[key] for key in ('file', 'bytes', 'changed_ns'))
        and 'sha256' in known
    ):
        return {**result, 'sha256': known['sha256']}
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**22):
            digest.update(block)
    return {**result, 'sha256': digest.hexdigest()}
