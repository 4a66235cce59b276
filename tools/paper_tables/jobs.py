"""Jobs and plans as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .published import Column, Row, Table, config_file

TRAININGS = ('pre-training', 'classifier')  # kinds of jobs that can be resumed


@dataclass(frozen=True)
class Training:
    """Facts of a composed training config.

    Args:
        site: data set and split, as in the name of the config.
        overlays: overlays of the config.
        full: epochs of the config.
        epochs: epochs to train, fewer in a rehearsal.
        interval: epochs between checkpoints that are kept.
        digest: hash of all settings that change a result.
    """

    site: str
    overlays: tuple[str, ...]
    full: int
    epochs: int
    interval: int
    digest: str

    @property
    def config(self) -> str:
        """Config file below the overlays."""
        return config_file(self.site)

    @property
    def tag(self) -> list[str]:
        """Part of a job's name for a number of epochs that is not the config's."""
        return [f'e{self.epochs}'] if self.epochs != self.full else []

    def epoch_at(self, share: float) -> int:
        """Return the kept epoch nearest to a share of the training."""
        if share == 1:
            return self.epochs
        steps = max(round(share * self.epochs / self.interval), 1)
        return min(steps * self.interval, self.epochs)


@dataclass(frozen=True)
class Options:
    """Choices that hold for all runs of a table.

    Args:
        seeds: every number is reproduced once per seed.
        scale: factor of the epochs of pre-training.
        data: class-balanced share of the training split to pre-train on.
        amp: mixed precision.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    scale: float = 1.0
    data: float = 1.0
    amp: bool = False

    @property
    def text(self) -> str:
        """Description for the caption of a table."""
        parts = [f'seeds {" ".join(map(str, self.seeds))}']
        if self.scale != 1:
            parts.append(f'{self.scale:g} of the epochs of pre-training')
        if self.data != 1:
            parts.append(f'pre-trained on {self.data:g} of the training split')
        if self.amp:
            parts.append('mixed precision')
        return ', '.join(parts)

    @property
    def data_tags(self) -> list[str]:
        """Parts of names for the share of the data and the precision."""
        return [f'd{self.data!r}'] * (self.data != 1) + ['amp'] * self.amp

    @property
    def tags(self) -> list[str]:
        """Parts of the name of a table's files."""
        return [f'e{self.scale!r}'] * (self.scale != 1) + self.data_tags


@dataclass(frozen=True)
class Job:
    """A command to run.

    Args:
        name: folder in the work directory.
        kind: ``pre-training``, ``classifier``, ``evaluation``, ``fusion`` or ``picture``.
        command: arguments of Python. ``{work}`` stands for the work directory, a path with ``*``
            for the only file that matches when the job starts.
        results: files that exist in the folder when the job is done.
        after: names of the jobs that must be done before.
        training: the training, or the one that an evaluation evaluates.
        share: share of the training split that is trained on.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    results: tuple[str, ...]
    after: tuple[str, ...] = ()
    training: Training | None = None
    share: float = 1.0

    def path(self, file: str) -> str:
        """Return the path of a file in the job's folder for use in commands."""
        return f'{{work}}/{self.name}/{file}'


@dataclass(frozen=True)
class Source:
    """Place of a number: the job, a JSON file in its folder, and the metric in it."""

    job: str
    file: str
    metric: str


@dataclass(frozen=True)
class Plan:
    """Jobs of a table and the sources of its numbers.

    Args:
        table: table of the paper.
        options: options of all runs.
        jobs: jobs by name; each comes after those it depends on.
        cells: sources of each cell, one per seed.
        epochs: evaluated epoch of each column.
        pictures: names of the jobs that draw.
    """

    table: Table
    options: Options
    jobs: dict[str, Job]
    cells: dict[tuple[Row, Column], tuple[Source, ...]]
    epochs: dict[Column, int]
    pictures: tuple[str, ...] = ()

    def select_jobs(self, patterns: Sequence[str] = ()) -> list[str]:
        """Return the names of the jobs with the results of some rows, by default of all.

        Args:
            patterns: names of rows, case-insensitive, with the wildcards ``*`` and ``?``.

        Raises:
            ValueError: if a pattern matches no row that is reproduced.
        """
        rows = dict.fromkeys(row for row, _ in self.cells)
        chosen = set() if patterns else set(rows)
        for pattern in patterns:
            found = {
                row
                for row in rows
                if any(fnmatchcase(name.lower(), pattern.lower()) for name in (row.name, row.label))
            }
            if not found:
                labels = ', '.join(repr(row.label) for row in rows)
                raise ValueError(f'--rows {pattern!r} matches no reproduced row: {labels}')
            chosen |= found

        sources = [s for (row, _), cell in self.cells.items() if row in chosen for s in cell]
        pictures = () if patterns else self.pictures
        return list(dict.fromkeys([*(source.job for source in sources), *pictures]))
