"""Files of a work directory as plain data: logs, results, arrays, configuration, environment."""

from __future__ import annotations

import glob
import importlib.metadata
import os
import platform
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.utils.files import read_json
from aimclr_mm.utils.training_log import is_number

LOG_HEAD = 400  # lines of a log in which mmengine tells the environment
ABOUT = (
    'config',
    'checkpoint',
    'files',
    'weights',
)  # what a file with metrics tells of their origin


@dataclass
class Result:
    """A JSON file with metrics: its path below the work directory, the values, and what they are of, as text."""

    path: str
    metrics: dict[str, float]
    about: dict[str, str]


def find_files(work_dir: str, ending: str) -> Iterator[str]:
    """Paths of the files anywhere below a work directory whose name ends so, without mmengine's logs, in order."""
    for folder, subfolders, names in os.walk(work_dir):
        subfolders[:] = sorted(name for name in subfolders if name != 'vis_data')
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(ending))


def read_results(work_dir: str) -> tuple[list[Result], list[str]]:
    """Metrics of every JSON file with a mapping ``metrics``, and notes about files that cannot be read."""
    results, notes = [], []
    for path in find_files(work_dir, '.json'):
        try:
            content = read_json(path)
        except ValueError:
            notes.append(f'{path} is no readable JSON file and left out')
            continue
        metrics = content.get('metrics') if isinstance(content, dict) else None
        if isinstance(metrics, Mapping):
            values = {name: float(value) for name, value in metrics.items() if is_number(value)}
            about = {
                name: ', '.join(map(str, value)) if isinstance(value, list) else str(value)
                for name in ABOUT
                if (value := content.get(name)) is not None
            }
            results.append(Result(os.path.relpath(path, work_dir), values, about))
    return results, notes


def read_arrays(work_dir: str) -> tuple[dict[str, FeatureSet], dict[str, ScoreSet], list[str]]:
    """Features and scores by path below the work directory, and notes about .npz files that are neither.

    Raises:
        ValueError: if a file is damaged or its arrays cannot be used; the message names it.
    """
    features, scores, notes = {}, {}, []
    for path in find_files(work_dir, '.npz'):
        relative = os.path.relpath(path, work_dir)
        if FeatureSet.is_file(path):
            features[relative] = FeatureSet.load(path)
            check_labels(features[relative].labels, None, path)
        elif ScoreSet.is_file(path):
            scores[relative] = ScoreSet.load(path)
            check_labels(scores[relative].labels, scores[relative].scores.shape[1], path)
        elif zipfile.is_zipfile(path):
            notes.append(f'{path} holds neither features nor scores and is left out')
        else:
            raise ValueError(
                f'{path!r} is damaged or no .npz file; delete it or write it anew with tools/test.py '
                '--dump FOLDER'
            )
    return features, scores, notes


def check_labels(labels: np.ndarray, classes: int | None, path: str) -> None:
    """Raises ValueError, naming the file, for a label below 0 or beyond the classes that there are scores of."""
    if len(labels) and (labels.min() < 0 or classes is not None and labels.max() >= classes):
        limit = (
            '' if classes is None else f', and below {classes}, the number of classes with scores'
        )
        raise ValueError(
            f'{path!r}: labels go from {labels.min()} to {labels.max()}; they must be at least 0{limit}'
        )


def read_configs(work_dir: str) -> dict[str, str]:
    """Dumped configs by path below the work directory; that of the newest run where none lies directly in it."""
    paths = sorted(glob.glob(os.path.join(glob.escape(work_dir), '*.py')))
    if not paths:
        paths = sorted(
            glob.glob(os.path.join(glob.escape(work_dir), '*', 'vis_data', 'config.py'))
        )[-1:]
    configs = {}
    for path in paths:
        with open(path, encoding='utf-8', errors='replace') as file:
            configs[os.path.relpath(path, work_dir)] = file.read()
    return configs


def logged_environment(work_dir: str, run: str | None) -> tuple[dict[str, str], str]:
    """What mmengine logged about the environment, and the log's path below the work directory; both may be empty.

    Args:
        work_dir: the work directory.
        run: name of the run; None takes the newest log that tells something.
    """
    pattern = os.path.join(glob.escape(work_dir), glob.escape(run) if run else '*', '*.log')
    for path in sorted(glob.glob(pattern), reverse=True):
        facts: dict[str, str] = {}
        with open(path, encoding='utf-8', errors='replace') as file:
            for line in islice(file, LOG_HEAD):
                match = re.match(r'    (\S[^:]*): (.+)', line)
                if match:
                    facts.setdefault(*match.groups())
        if 'MMEngine' in facts:
            return facts, os.path.relpath(path, work_dir)
    return {}, ''


def installed(*packages: str) -> str:
    """Version of the first of these packages that is installed, with its name where there are several."""
    for package in packages:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        return f'{version} ({package})' if len(packages) > 1 else version
    return 'not installed'


def environment(work_dir: str, run: str | None) -> tuple[list[tuple[str, str, bool]], str]:
    """(item, value, whether the log of the training tells it; otherwise of now), and the log's path if there is one.

    Args:
        work_dir, run: see :func:`logged_environment`.
    """
    logged, source = logged_environment(work_dir, run)
    device = ', '.join(value for name, value in logged.items() if re.fullmatch(r'GPU [\d,]+', name))
    if not device and logged.get('CUDA available') == 'False':
        device = 'CPU (no CUDA device)'
    here = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU (no CUDA device)'
    items = [
        ('torch', logged.get('PyTorch'), torch.__version__),
        ('mmengine', logged.get('MMEngine'), installed('mmengine')),
        ('mmaction2', None, installed('mmaction2')),
        ('mmcv', logged.get('MMCV'), installed('mmcv', 'mmcv-lite')),
        ('numpy', None, np.__version__),
        ('Python', logged.get('Python'), platform.python_version()),
        ('platform', logged.get('sys.platform'), platform.platform()),
        ('device', device, here),
        ('seed', logged.get('seed'), ''),
    ]
    return [(name, then or now, bool(then)) for name, then, now in items if then or now], source
