"""KNN accuracy over training (Figure 3): logged while training, or computed from checkpoints."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mmengine.config import Config
from rich.progress import track
from rich.table import Table

from aimclr_mm.utils.files import atomic_write, read_json
from aimclr_mm.utils.terminal import printable
from aimclr_mm.utils.training_log import History, log_files, read_history

from .evaluate import extract_features
from .neighbors import knn
from .results import FeatureSet

if TYPE_CHECKING:
    import pandas as pd

RESULTS = 'knn_curve.json'  # cache of checkpoint accuracies in the work directory


class Point(NamedTuple):
    """One accuracy of one run.

    Args:
        run: name of the run.
        epoch: 1-based.
        k: number of neighbors.
        top1: accuracy in percent.
        source: ``logged`` (while training) or ``checkpoint`` (computed from a saved one).
    """

    run: str
    epoch: int
    k: int
    top1: float
    source: str


def knn_accuracy(features: FeatureSet, ks: Sequence[int]) -> dict[int, float]:
    """Return the top-1 accuracy in percent for each k ("KNN Evaluation Protocol")."""
    if max(ks) > features.gallery.sum():
        raise ValueError(
            f'k={max(ks)}, but the gallery holds only {features.gallery.sum()} sequences; '
            'give smaller --k'
        )
    scores = knn(features, ks)
    return {k: scores[f'top1_k{k}'] for k in ks}


def logged_points(run: str, history: History, ks: Sequence[int]) -> list[Point]:
    """Return the accuracies that KNNMetric logged (``knn/top1_k{k}``), by epoch."""
    return [
        Point(run, epoch, k, values[f'knn/top1_k{k}'], 'logged')
        for epoch, values in sorted(history.validation.items())
        for k in ks
        if f'knn/top1_k{k}' in values
    ]


def checkpoint_points(run: str, folder: str, ks: Sequence[int]) -> list[Point]:
    """Evaluate all checkpoints of a work directory.

    Accuracies are cached in ``knn_curve.json`` in the folder after each checkpoint.

    Args:
        run: name of the run.
        folder: its work directory.
        ks: numbers of neighbors.
    """
    checkpoints = find_checkpoints(folder)
    results = read_results(folder)
    cfg = training_config(folder)

    points = []
    with tempfile.TemporaryDirectory() as scratch:  # for the log files of the test runner
        cfg.update(work_dir=scratch, launcher='none', log_level='WARNING')
        for epoch, path in track(checkpoints.items(), f'Checkpoints of {run}', len(checkpoints)):
            top1 = cached_accuracies(results, path)
            missing = [k for k in ks if k not in top1]
            if missing:
                top1.update(knn_accuracy(extract_features(cfg, path), missing))
                with atomic_write(os.path.join(folder, RESULTS)) as file:
                    file.write(json.dumps(results, indent=2) + '\n')
            points += [Point(run, epoch, k, top1[k], 'checkpoint') for k in ks]
    return points


def run_points(run: str, folder: str, ks: Sequence[int], evaluate: bool = True) -> list[Point]:
    """Return all accuracies of a run, logged ones first.

    Args:
        run: name of the run.
        folder: its work directory.
        ks: numbers of neighbors.
        evaluate: whether to evaluate its checkpoints.

    Raises:
        FileNotFoundError: if the folder contains no log, or no checkpoints to evaluate.
        ValueError: if there is no accuracy for any k.
    """
    points = logged_points(run, read_history(folder), ks)
    if evaluate:
        points += checkpoint_points(run, folder, ks)
    if not points:
        raise ValueError(
            f'{folder!r}: the training logged no KNN accuracy for k = {", ".join(map(str, ks))}'
        )
    return points


def find_checkpoints(folder: str) -> dict[int, str]:
    """Return epoch -> path of the checkpoints ``epoch_N.pth`` in a folder, ordered by epoch.

    Raises:
        FileNotFoundError: if there are none.
    """
    matches = [re.fullmatch(r'epoch_(\d+)\.pth', name) for name in os.listdir(folder)]
    found = {int(match[1]): os.path.join(folder, match[0]) for match in matches if match}
    if not found:
        raise FileNotFoundError(
            f'{folder!r} contains no checkpoint epoch_N.pth; --no-evaluate draws the logged values'
        )
    return dict(sorted(found.items()))


def training_config(folder: str) -> Config:
    """Return the config of the last training in a work directory.

    It is read from the folder of that training's log, because a later test overwrites the config in
    the work directory itself.
    """
    path = os.path.join(os.path.dirname(log_files(folder)[-1]), 'config.py')
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'config {path!r} does not exist; --no-evaluate draws the logged values'
        )
    try:
        return Config.fromfile(path)
    except Exception as error:  # noqa: BLE001  a config is Python code and may raise anything
        raise ValueError(f'config {path!r} cannot be read ({error})') from error


def read_results(folder: str) -> dict[str, dict]:
    """Return the cached accuracies: checkpoint name -> size, mtime_ns and top1 (k -> percent)."""
    path = os.path.join(folder, RESULTS)
    if not os.path.isfile(path):
        return {}
    try:
        return {
            name: dict(
                size=int(entry['size']),
                mtime_ns=int(entry['mtime_ns']),
                top1={int(k): float(top1) for k, top1 in entry['top1'].items()},
            )
            for name, entry in read_json(path).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'{path!r} is damaged ({error!r}); delete it to compute it again'
        ) from error


def cached_accuracies(results: dict[str, dict], path: str) -> dict[int, float]:
    """Return the cached k -> accuracy of a checkpoint, empty if the file has changed since.

    The returned dict is part of ``results``: entries added to it are cached.
    """
    stat = os.stat(path)
    current = dict(size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    entry = results.get(os.path.basename(path), {})
    if {name: entry.get(name) for name in current} != current:
        entry = results[os.path.basename(path)] = dict(current, top1={})
    return entry['top1']


def final_points(points: Sequence[Point]) -> pd.DataFrame:
    """Return the points of the last epoch of each run and source, one per row."""
    import pandas as pd  # here: a slow import

    table = pd.DataFrame(points)
    last = table.groupby(['run', 'source'])['epoch'].transform('max')
    return table[table['epoch'] == last]


def write_csv(points: Sequence[Point], path: str) -> None:
    """Write the points to a CSV file with a header."""
    import pandas as pd  # here: a slow import

    with atomic_write(path) as file:
        pd.DataFrame(points).to_csv(file, index=False, lineterminator='\n')


def summary(points: Sequence[Point], ks: Sequence[int]) -> Table:
    """Return a table of the accuracies in percent at each run's last epoch."""
    table = Table('run', 'source', 'epoch', *(f'k = {k}' for k in ks))
    groups = final_points(points).groupby(['run', 'source', 'epoch'], sort=False)
    for (run, source, epoch), group in groups:
        top1 = dict(zip(group['k'], group['top1']))
        cells = [f'{top1[k]:.2f}' if k in top1 else '-' for k in ks]
        table.add_row(printable(run), source, str(epoch), *cells)
    return table
