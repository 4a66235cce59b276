"""Versions, device and seed of a training, from its log or else of this machine."""

from __future__ import annotations

import glob
import importlib.metadata
import os
import platform
import re
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from aimclr_mm.utils.files import is_own_file, open_text

HEAD_LINES = 400  # of a log, where mmengine describes the environment
NO_CUDA = 'CPU (no CUDA device)'


class Item(NamedTuple):
    """One row of the table.

    Args:
        name: such as ``torch``.
        value: such as ``2.1.0``.
        logged: whether it was read from the training's log, not from the present environment.
    """

    name: str
    value: str
    logged: bool


def describe_environment(work_dir: str, run: str | None) -> tuple[list[Item], str]:
    """Describe the environment of a training.

    Args:
        work_dir: the work directory.
        run: name of the run; None for the newest one with a log.

    Returns:
        The items, and the path of the log below the work directory, empty if there is none.
    """
    log, source = read_log(work_dir, run)
    rows = [  # name, logged value, present value
        ('torch', log.get('PyTorch'), torch.__version__),
        ('mmengine', log.get('MMEngine'), installed('mmengine')),
        ('mmaction2', None, installed('mmaction2')),
        ('mmcv', log.get('MMCV'), installed('mmcv', 'mmcv-lite')),
        ('numpy', None, np.__version__),
        ('Python', log.get('Python'), platform.python_version()),
        ('platform', log.get('sys.platform'), platform.platform()),
        ('device', _logged_device(log), _present_device()),
        ('seed', log.get('seed'), ''),
    ]
    items = [
        Item(name, logged or present, bool(logged))
        for name, logged, present in rows
        if logged or present
    ]
    return items, source


def read_log(work_dir: str, run: str | None) -> tuple[dict[str, str], str]:
    """Return what mmengine logged about the environment, and the log's path; both may be empty.

    Args:
        work_dir, run: see :func:`describe_environment`.
    """
    pattern = os.path.join(glob.escape(work_dir), glob.escape(run) if run else '*', '*.log')
    paths = (path for path in glob.glob(pattern) if is_own_file(path, work_dir))
    for path in sorted(paths, reverse=True):
        facts: dict[str, str] = {}
        with open_text(path) as file:
            for line in islice(file, HEAD_LINES):
                match = re.match(r'    (\S[^:]*): (.+)', line)
                if match:
                    facts.setdefault(*match.groups())
        if 'MMEngine' in facts:
            return facts, os.path.relpath(path, work_dir)
    return {}, ''


def installed(*packages: str) -> str:
    """Return the version of the first installed package, with its name if there is a choice."""
    for package in packages:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        return f'{version} ({package})' if len(packages) > 1 else version
    return 'not installed'


def _logged_device(log: dict[str, str]) -> str:
    gpus = [value for name, value in log.items() if re.fullmatch(r'GPU [\d,]+', name)]
    if not gpus and log.get('CUDA available') == 'False':
        return NO_CUDA
    return ', '.join(gpus)


def _present_device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else NO_CUDA
