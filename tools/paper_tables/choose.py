"""What of a table is wanted: data sets, splits and rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from .graph import Plan, config_file
from .published import Column, Table


def choose_columns(
    table: Table, known: Collection[str], datasets: Sequence[str] = (), splits: Sequence[str] = ()
) -> tuple[Column, ...]:
    """The table's columns, those of some data sets, or the same table on data sets that the paper does not have.

    Args:
        table: of the paper.
        known: data sets and splits that have a config, such as ``ntu60_xsub``.
        datasets: wanted ones; those of the table if empty.
        splits: wanted ones; those of the table, or all that have a config, if empty.

    Raises:
        ValueError: if nothing is left, or there is no config; the message says what there is.
    """
    printed = list(dict.fromkeys(column.site for column in table.columns))
    if not datasets:
        sites = [site for site in printed if not splits or site.split('_')[1] in splits]
    elif splits:
        sites = [f'{dataset}_{split}' for dataset in datasets for split in splits]
    else:
        sites = [
            site
            for dataset in datasets
            for site in (
                [s for s in printed if s.split('_')[0] == dataset]
                or [s for s in sorted(known) if s.split('_')[0] == dataset]
                or [f'{dataset}_*']
            )
        ]
    missing = [site for site in sites if site not in known]
    if missing or not sites:
        what = (
            f'there is no {config_file(missing[0])!r}'
            if missing
            else f'{table.name} has no split {splits[0]!r}'
        )
        raise ValueError(f'{what}; data sets and splits with a config: {", ".join(sorted(known))}')
    shares = dict.fromkeys(column.share for column in table.columns)
    return tuple(
        Column(*site.split('_'), share) for site in dict.fromkeys(sites) for share in shares
    )


def choose_jobs(plan: Plan, patterns: Sequence[str] = ()) -> list[str]:
    """Names of the jobs whose results are wanted: all, or those of rows whose names match a pattern.

    Args:
        plan: of the whole table.
        patterns: names of rows without regard to case; ``*`` and ``?`` stand for anything.

    Raises:
        ValueError: if a pattern matches no row of ours.
    """
    rows = dict.fromkeys(row for row, _ in plan.cells)
    chosen = set()
    for pattern in patterns:
        found = {
            row
            for row in rows
            if any(fnmatchcase(name.lower(), pattern.lower()) for name in (row.name, row.label))
        }
        if not found:
            raise ValueError(
                f'--rows {pattern!r} matches no row that is run; these are: '
                + ', '.join(repr(row.label) for row in rows)
            )
        chosen |= found
    wanted = [
        source.job
        for (row, _), sources in plan.cells.items()
        if not patterns or row in chosen
        for source in sources
    ]
    return list(dict.fromkeys(wanted + ([] if patterns else list(plan.pictures))))
