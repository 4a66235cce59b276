"""KNN accuracy over training (Figure 3): what was logged, and what the saved checkpoints give."""

from __future__ import annotations

import csv
import glob
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from mmengine.config import Config
from rich.progress import track
from rich.table import Table

from aimclr_mm.evaluation.evaluate import extract_features
from aimclr_mm.evaluation.knn import KNNMetric
from aimclr_mm.evaluation.results import FeatureSet
from aimclr_mm.utils.files import atomic_write, read_json

from .plots import PALETTE, read_scalars

RESULTS = 'knn_curve.json'


@dataclass(frozen=True)
class Point:
    """One accuracy.

    Args:
        run: name of the run.
        epoch: 1-based.
        k: number of neighbours.
        top1: accuracy in per cent.
        source: ``logged`` while training, or ``checkpoint``: computed from a saved one.
    """

    run: str
    epoch: int
    k: int
    top1: float
    source: str


def knn_accuracy(features: FeatureSet, ks: Sequence[int]) -> dict[int, float]:
    """Top-1 accuracy in per cent of the queries for every k ("KNN Evaluation Protocol")."""
    if max(ks) > features.gallery.sum():
        raise ValueError(
            f'k={max(ks)}, but the gallery holds only {features.gallery.sum()} sequences; give smaller --k'
        )
    scores = KNNMetric(k=list(ks)).evaluate_features(features)
    return {k: scores[f'top1_k{k}'] for k in ks}


def logged_points(run: str, records: Sequence[dict], ks: Sequence[int]) -> list[Point]:
    """Accuracies of the validations while training (``knn/top1_k{k}`` of KNNMetric), in the order of epochs.

    Validations beyond the epoch from which the training was later resumed, or begun anew, do not count.

    Args:
        run: name of the run.
        records: see :func:`~aimclr_mm.visualization.plots.read_scalars`, in the order of time.
        ks: numbers of neighbours that are wanted.
    """
    points: list[Point] = []
    for record in (r for r in records if 'knn/top1' in r):
        epoch = record['step']
        points = [p for p in points if p.epoch < epoch]
        points += [
            Point(run, epoch, k, record[f'knn/top1_k{k}'], 'logged')
            for k in ks
            if f'knn/top1_k{k}' in record
        ]
    return points


def find_checkpoints(folder: str) -> dict[int, str]:
    """Epoch -> path of the checkpoints epoch_N.pth of a work directory, in the order of epochs.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = {
        int(match[1]): os.path.join(folder, match[0])
        for match in (re.fullmatch(r'epoch_(\d+)\.pth', name) for name in os.listdir(folder))
        if match
    }
    if not found:
        raise FileNotFoundError(
            f'{folder!r} holds no checkpoint epoch_N.pth; --no-evaluate draws what was logged'
        )
    return dict(sorted(found.items()))


def training_config(folder: str) -> Config:
    """The config of the last training in a work directory.

    It is the one beside the training's log. The one in the work directory itself may since have been replaced by that
    of a test.
    """
    log = sorted(glob.glob(os.path.join(folder, '*', 'vis_data', 'scalars.json')))[-1]
    path = os.path.join(os.path.dirname(log), 'config.py')
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'config {path!r} does not exist; --no-evaluate draws what was logged'
        )
    try:
        return Config.fromfile(path)
    except Exception as error:  # noqa: BLE001  a config is a program and may raise anything
        raise ValueError(f'config {path!r} cannot be read ({error})') from error


def read_results(folder: str) -> dict[str, dict]:
    """Accuracies of a work directory's checkpoints that were computed before: file name -> size, mtime_ns, top1."""
    path = os.path.join(folder, RESULTS)
    if not os.path.isfile(path):
        return {}
    try:
        results = read_json(path)
        return {
            name: dict(
                size=int(entry['size']),
                mtime_ns=int(entry['mtime_ns']),
                top1={int(k): float(top1) for k, top1 in entry['top1'].items()},
            )
            for name, entry in results.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'{path!r} is damaged ({error!r}); delete it, and it is made anew'
        ) from error


def known_accuracies(results: dict[str, dict], path: str) -> dict[int, float]:
    """What the results hold of a checkpoint as it is now; makes its entry where there is none or an outdated one."""
    stat = os.stat(path)
    now = dict(size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    entry = results.get(os.path.basename(path), {})
    if {field: entry.get(field) for field in now} != now:
        entry = results[os.path.basename(path)] = dict(now, top1={})
    return entry['top1']


def checkpoint_points(run: str, folder: str, ks: Sequence[int]) -> list[Point]:
    """Accuracies of all checkpoints of a work directory.

    Each is computed once: after every checkpoint the results are written to knn_curve.json in the work directory.

    Args:
        run: name of the run.
        folder: its work directory.
        ks: numbers of neighbours.
    """
    checkpoints, results, cfg, points = (
        find_checkpoints(folder),
        read_results(folder),
        training_config(folder),
        [],
    )
    with tempfile.TemporaryDirectory() as scratch:  # for the logs of the tests
        cfg.update(work_dir=scratch, launcher='none', log_level='WARNING')
        for epoch, path in track(
            checkpoints.items(), f'Checkpoints of {run}', total=len(checkpoints)
        ):
            top1 = known_accuracies(results, path)
            missing = [k for k in ks if k not in top1]
            if missing:
                top1.update(knn_accuracy(extract_features(cfg, path), missing))
                with atomic_write(os.path.join(folder, RESULTS)) as file:
                    file.write(json.dumps(results, indent=2) + '\n')
            points += [Point(run, epoch, k, top1[k], 'checkpoint') for k in ks]
    return points


def run_points(run: str, folder: str, ks: Sequence[int], evaluate: bool = True) -> list[Point]:
    """Everything that is known of a run.

    Args:
        run: its name.
        folder: its work directory.
        ks: numbers of neighbours.
        evaluate: whether its checkpoints are evaluated.

    Raises:
        FileNotFoundError: if the folder is no work directory of a training, or holds no checkpoints to evaluate.
        ValueError: if nothing is known for any k.
    """
    points = logged_points(run, read_scalars(folder), ks)
    if evaluate:
        points += checkpoint_points(run, folder, ks)
    if not points:
        raise ValueError(
            f'{folder!r}: the training logged no KNN accuracy for k = {", ".join(map(str, ks))}'
        )
    return points


def last_points(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    """(run, source) -> the points of its last epoch, in the order of k."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.run, point.source), []).append(point)
    ends = {name: max(point.epoch for point in group) for name, group in groups.items()}
    return {
        name: sorted(
            (point for point in group if point.epoch == ends[name]), key=lambda point: point.k
        )
        for name, group in groups.items()
    }


def draw_curves(points: Sequence[Point], ks: Sequence[int]) -> Figure:
    """Accuracy over training for one k, and over k at the end of training; one colour a run.

    Args:
        points: of all runs, see :func:`run_points`.
        ks: numbers of neighbours; the first one of which anything is known is that of the left panel.
    """
    figure = Figure(figsize=(12, 5))
    over_epochs, over_k = figure.subplots(
        1, 2, sharey=True, width_ratios=(2, 1), gridspec_kw=dict(wspace=0.08)
    )
    first = next(k for k in ks if any(point.k == k for point in points))
    colors = dict(zip(dict.fromkeys(point.run for point in points), cycle(PALETTE)))
    styles = dict(
        logged=dict(ls='--', lw=1.5, marker='.'), checkpoint=dict(ls='-', lw=2, marker='o')
    )
    ends = last_points(points)
    for (run, source), end in ends.items():
        curve = [
            point for point in points if (point.run, point.source, point.k) == (run, source, first)
        ]
        over_epochs.plot(
            [p.epoch for p in curve], [p.top1 for p in curve], color=colors[run], **styles[source]
        )
        if source == 'checkpoint' or (run, 'checkpoint') not in ends:
            over_k.plot(
                [p.k for p in end], [p.top1 for p in end], color=colors[run], **styles[source]
            )
    over_epochs.set_title(f'KNN accuracy over training, k = {first}', fontsize=14)
    over_epochs.set_xlabel('epoch', fontsize=13)
    over_epochs.set_ylabel('top-1 accuracy, %', fontsize=13)
    over_epochs.xaxis.get_major_locator().set_params(integer=True)
    over_k.set_title('at the end of training', fontsize=14)
    over_k.set_xlabel('k', fontsize=13)
    over_k.set_xscale('log')
    over_k.set_xticks(sorted(ks), labels=sorted(map(str, ks), key=int))
    over_k.minorticks_off()
    for axis in (over_epochs, over_k):
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=12)
    handles = [Line2D([], [], color=color, lw=4, label=run) for run, color in colors.items()]
    handles += [
        Line2D(
            [],
            [],
            color='black',
            label=dict(logged='logged', checkpoint='checkpoints')[source],
            **style,
        )
        for source, style in styles.items()
        if any(name[1] == source for name in ends)
    ]
    over_k.legend(
        handles=handles,
        loc='upper left',
        bbox_to_anchor=(1.02, 1),
        fontsize=13,
        frameon=False,
        borderaxespad=0,
    )
    return figure


def write_csv(points: Sequence[Point], path: str) -> None:
    """Writes the points, one a line, with a heading."""
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator='\n')
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)


def summary(points: Sequence[Point], ks: Sequence[int]) -> Table:
    """The accuracies in per cent at the last epoch of every run."""
    table = Table('run', 'source', 'epoch', *(f'k = {k}' for k in ks))
    for (run, source), end in last_points(points).items():
        top1 = {point.k: f'{point.top1:.2f}' for point in end}
        table.add_row(run, source, str(end[0].epoch), *(top1.get(k, '-') for k in ks))
    return table
