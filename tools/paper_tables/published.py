"""Tables and figures of the paper, read from published.yaml."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

STREAMS = ('joint', 'bone', 'motion')  # order of the fusion weights 0.6, 0.6, 0.4
EPOCHS = 300  # of the paper's pre-training
NAMES = {'ntu60': 'NTU-60', 'ntu120': 'NTU-120', 'pkummdv1': 'PKU I', 'pkummdv2': 'PKU II'}


def config_file(site: str) -> str:
    """Return the config of a data set and split, such as ``ntu60_xsub``."""
    return f'configs/aimclr_{site}_joint.py'


@dataclass(frozen=True)
class Recipe:
    """How a number is reproduced.

    Args:
        method: pre-training, a key of :data:`plan.METHODS`; ``scratch`` for random weights.
        streams: streams to evaluate; the scores of several are fused.
        protocol: ``linear``, ``knn``, ``semi``, ``finetune``, ``supervised`` or ``embedding``.
        labels: share of the labels of the training split (``semi``).
    """

    method: str
    streams: tuple[str, ...] = STREAMS
    protocol: str = 'linear'
    labels: float | None = None


@dataclass(frozen=True)
class Column:
    """A data set, a split, and the share of the training epochs after which it is evaluated."""

    dataset: str
    split: str
    share: float = 1.0

    @property
    def site(self) -> str:
        """Data set and split as in the names of configs, such as ``ntu60_xsub``."""
        return f'{self.dataset}_{self.split}'


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        name: as printed.
        values: published values, one per column, None where the paper has none.
        recipe: how the row is reproduced; None for rows that are only shown.
        group: heading above the row.
        extra: whether the row is this project's and not the paper's.
    """

    name: str
    values: tuple[float | None, ...]
    recipe: Recipe | None = None
    group: str = ''
    extra: bool = False

    @property
    def label(self) -> str:
        """Group and title."""
        return f'{self.group} {self.title}'.strip()

    @property
    def title(self) -> str:
        """Name, marked if the row is not the paper's."""
        return self.name + (' (not in the paper)' if self.extra else '')


@dataclass(frozen=True)
class Table:
    """A table or figure of the paper, or a comparison of this project.

    Args:
        key: number of a table, or a name.
        title: caption.
        columns: data sets and splits.
        rows: methods and protocols.
        decimals: of the printed values.
        equal_epochs: whether every method gets the epochs of the config below its overlays,
            instead of those of its paper.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    decimals: int = 1
    equal_epochs: bool = False

    @property
    def name(self) -> str:
        """Base name of the files that are written, such as ``table1`` or ``fig2``."""
        return f'table{self.key}' if self.key.isdigit() else self.key

    def value(self, row: Row, column: Column) -> float | None:
        """Return the published value, or None where the paper has none."""
        return row.values[self.columns.index(column)] if column in self.columns else None

    def select_columns(
        self, known: Collection[str], datasets: Sequence[str] = (), splits: Sequence[str] = ()
    ) -> tuple[Column, ...]:
        """Return the columns of some data sets and splits, which the paper need not have.

        Args:
            known: data sets and splits that have a config, such as ``ntu60_xsub``.
            datasets: default: those of the table.
            splits: default: those of the table, or all that have a config.

        Raises:
            ValueError: if nothing is left or a config is missing; the message lists the known ones.
        """
        printed = list(dict.fromkeys(column.site for column in self.columns))

        if datasets and splits:
            sites = [f'{dataset}_{split}' for dataset in datasets for split in splits]
        elif datasets:
            sites = [site for name in datasets for site in _sites_of(name, printed, sorted(known))]
        else:
            sites = [site for site in printed if not splits or site.split('_')[1] in splits]

        choice = f'data sets and splits with a config: {", ".join(sorted(known))}'
        if not sites:
            raise ValueError(f'{self.name} has no split {splits[0]!r}; {choice}')
        for site in sites:
            if site not in known:
                raise ValueError(f'there is no {config_file(site)!r}; {choice}')

        shares = dict.fromkeys(column.share for column in self.columns)
        return tuple(
            Column(*site.split('_'), share) for site in dict.fromkeys(sites) for share in shares
        )


def _sites_of(dataset: str, *choices: Sequence[str]) -> list[str]:
    """Return the sites of a data set from the first choice that has any."""
    for sites in choices:
        found = [site for site in sites if site.split('_')[0] == dataset]
        if found:
            return found
    return [f'{dataset}_*']


def read_table(key: str, content: dict[str, Any]) -> Table:
    """Build a table from its entry in published.yaml."""
    columns = tuple(
        Column(*site.split('_'), epochs / EPOCHS)
        for site in content['columns']
        for epochs in content.get('epochs', [EPOCHS])
    )
    rows: list[Row] = []
    group = ''
    for row in content['rows']:
        if 'group' in row:
            group = row['group']
            continue
        values = tuple(row.get('paper', [None] * len(columns)))
        rows.append(
            Row(row['name'], values, read_recipe(row.get('ours')), group, row.get('extra', False))
        )
    options = {name: content[name] for name in ('decimals', 'equal_epochs') if name in content}
    return Table(key, content['title'], columns, tuple(rows), **options)


def read_recipe(entry: list[Any] | None) -> Recipe | None:
    """Build a recipe from ``[method, stream or 3s, protocol, share of labels]``."""
    if entry is None:
        return None
    method, streams, *rest = entry
    return Recipe(method, STREAMS if streams == '3s' else (streams,), *rest)


_content = yaml.safe_load(Path(__file__).with_suffix('.yaml').read_text(encoding='utf-8'))
TABLES = {key: read_table(key, table) for key, table in _content.items()}
