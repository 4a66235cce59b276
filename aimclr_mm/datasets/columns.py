"""Lists of records stored by column: a few arrays load faster from a pickle than many dicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LONGEST = 100  # characters; in a NumPy array every text takes the space of the longest


def pack(values: Sequence) -> np.ndarray | list:
    """Return integers or text as an array that :func:`unpack` reverses exactly, else a list."""
    values = list(values)
    kinds = {type(value) for value in values}
    if kinds == {int} and max(map(abs, values)) < 2**63:
        return np.array(values, dtype=np.int64)
    if kinds == {str} and max(map(len, values)) <= LONGEST:
        array = np.array(values)
        # NumPy drops null characters at the end of text
        return array if array.tolist() == values else values
    return values


def unpack(column: np.ndarray | list) -> list:
    """Return the values of a column."""
    return column.tolist() if isinstance(column, np.ndarray) else column


def to_columns(records: Sequence[dict]) -> dict[str, Any]:
    """Store records by key if all have the same keys in the same order, else unchanged."""
    keys = list(records[0]) if records else []
    if not keys or any(list(record) != keys for record in records):
        return dict(records=list(records))
    return dict(keys=keys, columns=[pack(record[key] for record in records) for key in keys])


def to_records(table: dict[str, Any]) -> list[dict]:
    """Return the records that :func:`to_columns` stored.

    Raises:
        ValueError: if the columns differ in length or number.
    """
    if 'records' in table:
        return table['records']

    keys = table['keys']
    columns = [unpack(column) for column in table['columns']]
    if len(keys) != len(columns) or len({len(column) for column in columns}) != 1:
        raise ValueError('columns of different lengths')
    return [dict(zip(keys, row)) for row in zip(*columns)]
