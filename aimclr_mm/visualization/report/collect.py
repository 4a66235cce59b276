"""Read the results of a run from its work directory."""

from __future__ import annotations

import glob
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.utils.files import is_own_file, open_text, read_json
from aimclr_mm.utils.training_log import History, is_number, log_files, read_history

READ = '.json', '.npz', '.py'  # endings of files that are read
MAX_LISTED = 5  # files that a note names
ORIGIN = ('config', 'checkpoint', 'files', 'weights')  # fields of a result about its origin


@dataclass
class Result:
    """A JSON file with metrics.

    Args:
        path: below the work directory.
        metrics: name -> value.
        origin: config, checkpoint and files of the metrics, as text.
    """

    path: str
    metrics: dict[str, float]
    origin: dict[str, str]


@dataclass
class Run:
    """Content of the work directory of a run.

    Args:
        history: logged values of its trainings.
        results: metrics.
        features, scores: arrays by path below the work directory.
        configs: text by path below the work directory.
        notes: parts left out, with the reason.
    """

    history: History
    results: list[Result]
    features: dict[str, FeatureSet]
    scores: dict[str, ScoreSet]
    configs: dict[str, str]
    notes: list[str]


def read_run(work_dir: str) -> Run:
    """Read a work directory; results of its evaluation may be anywhere below it.

    Raises:
        FileNotFoundError: if the folder does not exist or contains nothing of a run.
        ValueError: if a file cannot be used; the message names it.
    """
    if not os.path.isdir(work_dir):
        raise FileNotFoundError(f'work directory {work_dir!r} does not exist')
    history = read_history(work_dir) if log_files(work_dir) else History()
    results, result_notes = read_results(work_dir)
    features, scores, array_notes = read_arrays(work_dir)
    if not (history.runs or history.validation or history.notes or results or features or scores):
        raise FileNotFoundError(
            f'{work_dir!r} contains no log (<time>/vis_data/scalars.json), no metrics (*.json) and '
            'no features or scores (*.npz); give the work directory of a training or an evaluation'
        )

    notes = [*history.notes, *result_notes, *array_notes, *foreign_files(work_dir)]
    return Run(history, results, features, scores, read_configs(work_dir), notes)


def find_files(work_dir: str, ending: str) -> Iterator[str]:
    """Yield the paths of all files with an ending below a folder, without mmengine's logs."""
    for folder, subfolders, names in os.walk(work_dir):
        subfolders[:] = sorted(name for name in subfolders if name != 'vis_data')
        paths = (os.path.join(folder, name) for name in sorted(names) if name.endswith(ending))
        yield from (path for path in paths if is_own_file(path, work_dir))


def foreign_files(work_dir: str) -> list[str]:
    """Return a note on links that lead out of a folder, pipes and devices, which are not read."""
    foreign = [
        os.path.relpath(os.path.join(folder, name), work_dir)
        for folder, _, names in os.walk(work_dir)
        for name in sorted(names)
        if name.endswith(READ) and not is_own_file(os.path.join(folder, name), work_dir)
    ]
    if not foreign:
        return []
    shown = ', '.join(foreign[:MAX_LISTED]) + ', ...' * (len(foreign) > MAX_LISTED)
    return [
        f'{len(foreign)} links that lead out of the folder, pipes or devices are left out: {shown}'
    ]


def read_results(work_dir: str) -> tuple[list[Result], list[str]]:
    """Read every JSON file that contains a mapping ``metrics``, or a list ``results`` of them.

    Returns:
        The results, and notes on files that cannot be read.
    """
    results, notes = [], []
    for path in find_files(work_dir, '.json'):
        try:
            content = read_json(path)
        except ValueError:
            notes.append(f'{path} is not a readable JSON file and is left out')
            continue

        results += _results(os.path.relpath(path, work_dir), content)
    return results, notes


def _results(path: str, content: object) -> Iterator[Result]:
    """Yield the results in the content of a file: one, or one for each of several checkpoints."""
    whole = content if isinstance(content, dict) else {}
    several = whole.get('results')
    for part in several if isinstance(several, list) else [{}]:
        result = {**whole, **part} if isinstance(part, dict) else {}
        metrics = result.get('metrics')
        if isinstance(metrics, Mapping):
            values = {name: float(value) for name, value in metrics.items() if is_number(value)}
            origin = {name: _as_text(result[name]) for name in ORIGIN if result.get(name)}
            yield Result(path, values, origin)


def _as_text(value: object) -> str:
    return ', '.join(map(str, value)) if isinstance(value, list) else str(value)


def read_arrays(work_dir: str) -> tuple[dict[str, FeatureSet], dict[str, ScoreSet], list[str]]:
    """Read all feature and score files.

    Returns:
        Features and scores by path below the work directory, and notes on other .npz files.

    Raises:
        ValueError: if a file is damaged or its arrays do not fit; the message names it.
    """
    features, scores, notes = {}, {}, []
    for path in find_files(work_dir, '.npz'):
        name = os.path.relpath(path, work_dir)
        if FeatureSet.is_file(path):
            features[name] = FeatureSet.load(path)
            check_labels(features[name].labels, None, path)
        elif ScoreSet.is_file(path):
            scores[name] = ScoreSet.load(path)
            check_labels(scores[name].labels, scores[name].scores.shape[1], path)
        elif zipfile.is_zipfile(path):
            notes.append(f'{path} contains neither features nor scores and is left out')
        else:
            raise ValueError(
                f'{path!r} is damaged or not an .npz file; delete it or write it again with '
                'tools/test.py --dump FOLDER'
            )
    return features, scores, notes


def check_labels(labels: np.ndarray, classes: int | None, path: str) -> None:
    """Raise ValueError, naming the file, for labels below 0 or at ``classes`` and above."""
    if len(labels) == 0:
        return
    low, high = labels.min(), labels.max()
    limit = '' if classes is None else f' and below {classes}, the number of classes with scores'
    if low < 0 or (classes is not None and high >= classes):
        raise ValueError(
            f'{path!r}: labels range from {low} to {high}; they must be at least 0{limit}'
        )


def read_configs(work_dir: str) -> dict[str, str]:
    """Return the text of the dumped configs by path below the work directory.

    If the folder itself contains none, that of the newest run is returned.
    """

    def find(*pattern: str) -> list[str]:
        paths = glob.glob(os.path.join(glob.escape(work_dir), *pattern))
        return sorted(path for path in paths if is_own_file(path, work_dir))

    paths = find('*.py') or find('*', 'vis_data', 'config.py')[-1:]

    configs = {}
    for path in paths:
        with open_text(path) as file:
            configs[os.path.relpath(path, work_dir)] = file.read()
    return configs
