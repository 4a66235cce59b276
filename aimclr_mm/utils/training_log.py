"""Training history from the ``vis_data/scalars.json`` files that mmengine writes, one per run."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .files import is_own_file, open_text, parse_json, read_json

PROVENANCE = 'provenance.json'  # written by ProvenanceHook at the start of each run
MAX_VALUE = 1e30  # larger logged numbers are treated like infinity, as axes cannot show them
MAX_LISTED = 3  # damaged lines that a note lists by number

Epochs = dict[int, dict[str, float]]


@dataclass
class History:
    """Logged values of all runs in a work directory, by epoch.

    Args:
        train: epoch -> name -> value, from the last training record of each epoch.
        validation: epoch -> name -> value, from the validations.
        runs: epoch of ``train`` -> name of the run (its start time) that logged it.
        notes: what was left out and why, for the user.
    """

    train: Epochs = field(default_factory=dict)
    validation: Epochs = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop_from(self, epoch: int) -> None:
        """Remove everything logged at this epoch or later."""
        for values in (self.train, self.validation, self.runs):
            for later in [e for e in values if e >= epoch]:
                del values[later]


def started_runs(work_dir: str) -> list[str]:
    """Return the names of the runs in a work directory in the order in which they started.

    Empty for runs of older versions.
    """
    try:
        runs = read_json(os.path.join(work_dir, PROVENANCE))['runs']
        return [str(run) for run in runs] if isinstance(runs, list) else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def log_files(work_dir: str) -> list[str]:
    """Return the paths of the scalar logs in a work directory, oldest run first.

    Runs are named by their start time, but a clock may go back, so that the recorded order counts.
    """
    order = {run: number for number, run in enumerate(started_runs(work_dir))}
    pattern = os.path.join(glob.escape(work_dir), '*', 'vis_data', 'scalars.json')
    paths = [path for path in glob.glob(pattern) if is_own_file(path, work_dir)]
    names = {path: os.path.relpath(path, work_dir).split(os.sep)[0] for path in paths}
    return sorted(paths, key=lambda path: (order.get(names[path], -1), names[path]))


def is_number(value: object) -> bool:
    """Return whether a JSON value is a finite number that can be drawn."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_VALUE
    )


def read_history(work_dir: str) -> History:
    """Merge the logs of all runs in a work directory.

    A later run replaces what earlier runs logged from its first epoch on, whether it resumed from
    a checkpoint or started over.

    Raises:
        FileNotFoundError: if the folder contains no log.
    """
    paths = log_files(work_dir)
    if not paths:
        raise FileNotFoundError(
            f'{work_dir!r} contains no <time>/vis_data/scalars.json; '
            'give the work directory of a training'
        )

    history = History()
    for path in paths:
        _add_run(history, path, run=os.path.relpath(path, work_dir).split(os.sep)[0])
    return history


def _add_run(history: History, path: str, run: str) -> None:
    """Merge one log into the history."""
    damaged: list[int] = []
    train, validation = _by_epoch(_read_records(path, damaged))
    first = min([*train, *validation], default=math.inf)
    superseded = sum(epoch >= first and epoch not in train for epoch in history.train)

    history.drop_from(first)
    history.train.update(train)
    history.validation.update(validation)
    history.runs.update(dict.fromkeys(train, run))

    if damaged:
        history.notes.append(_describe_damaged(path, damaged))
    if superseded:
        history.notes.append(
            f'{run} started over at epoch {first}: {superseded} later epochs of earlier runs '
            'are left out'
        )


def _read_records(path: str, damaged: list[int]) -> Iterator[dict]:
    """Yield the records of a log, and append the numbers of its damaged lines.

    A run that is killed while it logs leaves an incomplete line; such lines are skipped.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                record = parse_json(line) if line.strip() else {}
            except ValueError:
                record = None

            if isinstance(record, dict):
                yield record
            else:
                damaged.append(number)


def _describe_damaged(path: str, lines: list[int]) -> str:
    more = f' and {len(lines) - MAX_LISTED} more' if len(lines) > MAX_LISTED else ''
    plural = 's' if len(lines) > 1 else ''
    listed = ', '.join(map(str, lines[:MAX_LISTED]))
    return f'{path}, damaged and left out: line{plural} {listed}{more}'


def _by_epoch(records: Iterable[dict]) -> tuple[Epochs, Epochs]:
    """Split records into training and validation, by epoch; the last record of an epoch counts.

    mmengine gives training records an ``epoch``; validation records have only ``step``, the epoch.
    """
    train, validation = {}, {}
    for record in records:
        epochs, key = (train, 'epoch') if 'epoch' in record else (validation, 'step')
        if is_number(record.get(key)):
            epochs[int(record[key])] = {
                name: float(value) if is_number(value) else math.nan
                for name, value in record.items()
                if isinstance(value, (int, float))
            }
    return train, validation
