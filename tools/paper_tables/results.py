"""Published numbers and reproduced ones as Markdown and CSV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev

import pandas as pd

from aimclr_mm.utils.files import atomic_write, read_json

from .jobs import Plan, Source
from .published import EPOCHS, NAMES, Column, Row
from .records import Records

UNFINISHED, UNPUBLISHED = '…', '-'


@dataclass(frozen=True)
class Cell:
    """A published value and the reproduced ones.

    Args:
        published: None where the paper has no value.
        values: one per seed, None if unfinished; empty for rows that are not reproduced.
    """

    published: float | None
    values: tuple[float | None, ...] = ()

    @property
    def found(self) -> list[float]:
        """Values that are there."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """Mean over the seeds that are there."""
        return mean(self.found) if self.found else None

    @property
    def std(self) -> float | None:
        """Population standard deviation over the seeds that are there."""
        return pstdev(self.found) if self.found else None

    @property
    def difference(self) -> float | None:
        """Mean minus the published value."""
        return None if None in (self.published, self.mean) else self.mean - self.published

    def text(self, decimals: int) -> list[str]:
        """Return the published value, the reproduced one and their difference for Markdown."""
        published = UNPUBLISHED if self.published is None else f'{self.published:.{decimals}f}'
        if not self.values:
            return [published, '', '']
        if not self.found:
            return [published, UNFINISHED, '']

        ours = f'{self.mean:.{decimals}f}'
        if len(self.found) > 1:
            ours += f' ± {self.std:.{decimals}f}'
        if len(self.found) < len(self.values):
            ours += f' ({len(self.found)} of {len(self.values)} seeds)'
        difference = '' if self.difference is None else f'{self.difference:+.{decimals}f}'
        return [published, ours, difference]


class Report:
    """A table with the published values and those reproduced so far.

    Args:
        plan: plan of the table.
        records: records of the work directory.
    """

    def __init__(self, plan: Plan, records: Records) -> None:
        self.plan = plan
        self.records = records
        self.table = plan.table
        self.columns = tuple(plan.epochs)
        self.cells: dict[tuple[Row, Column], Cell] = {}
        self.problems: list[str] = []  # results that cannot be read

    @property
    def path(self) -> Path:
        """Path of the files without suffix; parts of the paper's table have names of their own."""
        names = [self.table.name]
        if self.columns != self.table.columns:
            names += dict.fromkeys(column.site for column in self.columns)
        return self.records.folder('_'.join([*names, *self.plan.options.tags]))

    def files(self) -> list[Path]:
        """Return the finished pictures and the files of the table."""
        pictures = [
            self.records.folder(name) / self.plan.jobs[name].results[0]
            for name in self.plan.pictures
        ]
        tables = [Path(f'{self.path}.{suffix}') for suffix in ('md', 'csv')]
        return [path for path in pictures if path.is_file()] + tables

    def write(self) -> str:
        """Read the results, write the files and return the Markdown."""
        self.problems = []
        self.cells = {
            (row, column): Cell(
                self.table.value(row, column),
                tuple(self._read(source) for source in self.plan.cells.get((row, column), ())),
            )
            for row in self.table.rows
            for column in self.columns
        }
        text = f'{self.table.title}; ours: {self.plan.options.text}\n\n{self.markdown()}\n'
        for suffix, content in (('md', text), ('csv', self.csv())):
            with atomic_write(f'{self.path}.{suffix}') as file:
                file.write(content)
        return text

    def _read(self, source: Source) -> float | None:
        """Return a number of a finished job; None if it is unfinished or unreadable."""
        if not self.records.finished(self.records.jobs[source.job]):
            return None
        path = self.records.folder(source.job) / source.file
        try:
            content = read_json(str(path))
            return float(content.get('metrics', content)[source.metric])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self.problems.append(
                f'{str(path)!r} does not hold the number {source.metric!r} ({error!r}); delete '
                'the file and run again'
            )
            return None

    def heading(self, column: Column) -> str:
        """Return the name of a column."""
        name = f'{NAMES.get(column.dataset, column.dataset)} {column.split}'
        if len({c.share for c in self.columns}) == 1:
            return name
        printed, ours = round(EPOCHS * column.share), self.plan.epochs[column]
        return f'{name} {printed}ep' + (f' (ours: {ours})' if ours != printed else '')

    def markdown(self) -> str:
        """Return the table as Markdown; the name of a group has a line of its own."""
        heads = [self.heading(column) for column in self.columns]
        kinds = ('paper', 'ours', 'difference')
        lines = [['', *(f'{head} {kind}' for head in heads for kind in kinds)]]
        group = ''
        for row in self.table.rows:
            if row.group != group:
                group = row.group
                lines.append([f'*{group}*'] + [''] * (len(lines[0]) - 1))
            cells = [self.cells[row, column].text(self.table.decimals) for column in self.columns]
            lines.append([row.title, *(text for cell in cells for text in cell)])

        widths = [max(map(len, texts)) for texts in zip(*lines)]
        lines.insert(1, ['-' * width for width in widths])
        padded = ([text.ljust(width) for text, width in zip(line, widths)] for line in lines)
        return '\n'.join(f'| {" | ".join(line)} |' for line in padded)

    def csv(self) -> str:
        """Return the table as CSV, one line per number."""
        lines = [
            dict(
                table=self.table.name,
                row=row.label,
                column=self.heading(column),
                paper=cell.published,
                ours=cell.mean,
                std=cell.std,
                difference=None if cell.difference is None else round(cell.difference, 6),
                values=' '.join('' if value is None else repr(value) for value in cell.values),
            )
            for (row, column), cell in self.cells.items()
        ]
        return pd.DataFrame(lines).to_csv(index=False, lineterminator='\n')
