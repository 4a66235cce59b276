"""Jobs, what they train, and a plan of them: plain data without any work done."""

from __future__ import annotations

from dataclasses import dataclass

from .published import Column, Row, Table

TRAININGS = ('pre-training', 'classifier')  # kinds of jobs that are resumed after an interruption


def config_file(site: str) -> str:
    """Config of a data set's split."""
    return f'configs/aimclr_{site}_joint.py'


@dataclass(frozen=True)
class Training:
    """What a composed config says of the training it describes.

    Args:
        site: data set and split, as in the name of the config.
        overlays: laid over it.
        full: epochs of the config.
        epochs: epochs to train, shorter in a rehearsal.
        interval: epochs between checkpoints that are kept.
        digest: of all settings that change a result.
    """

    site: str
    overlays: tuple[str, ...]
    full: int
    epochs: int
    interval: int
    digest: str

    @property
    def config(self) -> str:
        """The config file below the overlays."""
        return config_file(self.site)

    def at(self, share: float) -> int:
        """The kept epoch that is nearest to a share of the training."""
        return (
            self.epochs
            if share == 1
            else min(
                max(round(share * self.epochs / self.interval), 1) * self.interval, self.epochs
            )
        )


@dataclass(frozen=True)
class Options:
    """What is chosen for all runs of a table.

    Args:
        seeds: one run of everything for each.
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
        """In words."""
        parts = [f'seeds {" ".join(map(str, self.seeds))}']
        parts += [f'{self.scale:g} of the epochs of pre-training'] if self.scale != 1 else []
        parts += [f'pre-trained on {self.data:g} of the training split'] if self.data != 1 else []
        return ', '.join(parts + (['mixed precision'] if self.amp else []))

    @property
    def tags(self) -> list[str]:
        """What is added to the name of a table's files."""
        parts = [f'e{self.scale!r}'] if self.scale != 1 else []
        parts += [f'd{self.data!r}'] if self.data != 1 else []
        return parts + (['amp'] if self.amp else [])


@dataclass(frozen=True)
class Job:
    """One command.

    Args:
        name: its folder in the work directory.
        kind: ``pre-training``, ``classifier``, ``evaluation``, ``fusion`` or ``picture``.
        command: arguments of Python. A path with a ``*`` stands for the only file that matches when the job starts.
        results: files in its folder that exist when it is done.
        after: jobs that must be done before.
        training: of trainings, and of evaluations the training that is evaluated.
        share: of the training split that is trained on.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    results: tuple[str, ...]
    after: tuple[str, ...] = ()
    training: Training | None = None
    share: float = 1.0

    def path(self, file: str) -> str:
        """A file in its folder, as it stands in commands."""
        return f'{{work}}/{self.name}/{file}'


@dataclass(frozen=True)
class Source:
    """A number: the job, the JSON file in its folder and the name in there."""

    job: str
    file: str
    metric: str


@dataclass(frozen=True)
class Plan:
    """What a table needs.

    Args:
        table: of the paper.
        options: of all runs.
        jobs: by name, in an order in which they can run.
        cells: where the numbers of each cell are, one a seed.
        epochs: that is evaluated, for each column of the table as it is run.
        pictures: names of jobs.
    """

    table: Table
    options: Options
    jobs: dict[str, Job]
    cells: dict[tuple[Row, Column], tuple[Source, ...]]
    epochs: dict[Column, int]
    pictures: tuple[str, ...] = ()
