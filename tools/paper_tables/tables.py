"""A table of the paper with our numbers beside it, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import os
from statistics import mean, pstdev

from aimclr_mm.utils.files import atomic_write, read_json

from .graph import Plan, Source
from .published import NAMES, Column, Row
from .records import Records

MISSING, NOTHING = '…', '-'


def read_number(records: Records, source: Source) -> float | None:
    """A number of a finished job; None if it is not finished.

    Raises:
        ValueError: if its file is damaged or lacks the number.
    """
    if not records.finished(records.jobs[source.job]):
        return None
    path = os.path.join(records.folder(source.job), source.file)
    try:
        content = read_json(path)
        return float(content.get('metrics', content)[source.metric])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'{path!r} does not hold the number {source.metric!r} ({error!r}); delete the file, and it is '
            'made anew'
        ) from error


class Report:
    """A table with the published and our values, as far as these are there.

    Args:
        plan: of the table.
        records: of the work directory.
    """

    def __init__(self, plan: Plan, records: Records) -> None:
        self.plan, self.records = plan, records
        self.table, self.columns = plan.table, tuple(plan.epochs)
        self.values: dict[tuple[Row, Column], list[float | None]] = {}
        self.problems: list[str] = []  # results that could not be read
        self.decimals = 1 if plan.table.unit == '%' else 4

    @property
    def path(self) -> str:
        """Of the files, without ending; what is not the whole table of the paper has another name."""
        sites = (
            dict.fromkeys(column.site for column in self.columns)
            if self.columns != self.table.columns
            else ()
        )
        return self.records.folder('_'.join([self.table.name, *sites, *self.plan.options.tags]))

    def files(self) -> list[str]:
        """The pictures that are there, and the table."""
        pictures = [
            os.path.join(self.records.folder(name), self.plan.jobs[name].results[0])
            for name in self.plan.pictures
        ]
        return [*filter(os.path.isfile, pictures), f'{self.path}.md', f'{self.path}.csv']

    def write(self) -> str:
        """Reads the numbers, writes the files and returns the Markdown."""
        self.problems = []
        self.values = {
            cell: [self._number(source) for source in sources]
            for cell, sources in self.plan.cells.items()
        }
        text = f'{self.table.title}; ours: {self.plan.options.text}\n\n{self.markdown()}\n'
        for ending, content in (('md', text), ('csv', self.csv())):
            with atomic_write(f'{self.path}.{ending}') as file:
                file.write(content)
        return text

    def _number(self, source: Source) -> float | None:
        try:
            return read_number(self.records, source)
        except ValueError as error:  # the other jobs and cells go on
            self.problems.append(str(error))
            return None

    def heading(self, column: Column) -> str:
        """Name of a column."""
        name = f'{NAMES.get(column.dataset, column.dataset)} {column.split}'
        if len({c.share for c in self.columns}) == 1:
            return name
        printed, here = round(300 * column.share), self.plan.epochs[column]
        return f'{name} {printed}ep' + (f' (ours: {here})' if here != printed else '')

    def summary(self, row: Row, column: Column) -> tuple[float | None, float | None, int]:
        """Mean and population standard deviation of our values, None where there are none, and their number."""
        there = [value for value in self.values.get((row, column), ()) if value is not None]
        return (mean(there), pstdev(there), len(there)) if there else (None, None, 0)

    def cells(self, row: Row, column: Column) -> list[str]:
        """Published value, ours, and the difference."""
        published, (ours, spread, count) = self.table.value(row, column), self.summary(row, column)
        shown = NOTHING if published is None else f'{published:.{self.decimals}f}'
        if row.recipe is None:
            return [shown, '', '']
        if ours is None:
            return [shown, MISSING, '']
        seeds = len(self.values[row, column])
        text = f'{ours:.{self.decimals}f}' + (f' ± {spread:.{self.decimals}f}' if count > 1 else '')
        text += f' ({count} of {seeds} seeds)' if count < seeds else ''
        return [shown, text, '' if published is None else f'{ours - published:+.{self.decimals}f}']

    def markdown(self) -> str:
        """The table as Markdown; a group's name stands in a line of its own."""
        lines = [
            [
                '',
                *(
                    f'{self.heading(column)} {what}'
                    for column in self.columns
                    for what in ('paper', 'ours', 'difference')
                ),
            ]
        ]
        group = ''
        for row in self.table.rows:
            if row.group != group:
                group = row.group
                lines.append([f'*{group}*', *[''] * (len(lines[0]) - 1)])
            name = row.name + (' (not in the paper)' if row.extra else '')
            lines.append(
                [name, *(cell for column in self.columns for cell in self.cells(row, column))]
            )
        widths = [max(map(len, cells)) for cells in zip(*lines)]
        text = [
            '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) + ' |'
            for line in lines
        ]
        return '\n'.join(
            [text[0], '|' + '|'.join('-' * (width + 2) for width in widths) + '|', *text[1:]]
        )

    def csv(self) -> str:
        """The table as CSV, one line a number: published value, mean, standard deviation, difference, all seeds."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(['table', 'row', 'column', 'paper', 'ours', 'std', 'difference', 'values'])
        for row in self.table.rows:
            for column in self.columns:
                published, (ours, spread, _) = (
                    self.table.value(row, column),
                    self.summary(row, column),
                )
                difference = None if None in (published, ours) else round(ours - published, 6)
                values = ' '.join(
                    '' if v is None else repr(v) for v in self.values.get((row, column), ())
                )
                writer.writerow(
                    [
                        self.table.name,
                        row.label,
                        self.heading(column),
                        *('' if v is None else v for v in (published, ours, spread, difference)),
                        values,
                    ]
                )
        return out.getvalue()
