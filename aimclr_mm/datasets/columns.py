"""Lists of records as columns: what a pickle holds of them is a few arrays and not a hundred thousand dicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LONGEST = (
    100  # characters of a text in an array, each of whose texts takes the place of the longest
)


def pack(values: Sequence) -> np.ndarray | list:
    """Plain whole numbers or plain text as an array, if :func:`unpack` gives the same again; else a list."""
    values = list(values)
    kinds = {type(value) for value in values}
    if kinds == {int} and max(map(abs, values)) < 2**63:
        return np.array(values, dtype=np.int64)
    if kinds == {str} and max(map(len, values)) <= LONGEST:
        array = np.array(values)
        return array if array.tolist() == values else values  # NumPy drops zeros at the end of text
    return values


def unpack(column: np.ndarray | list) -> list:
    """The values of a column."""
    return column.tolist() if isinstance(column, np.ndarray) else column


def to_columns(records: Sequence[dict]) -> dict[str, Any]:
    """Records by key, if all have the same keys in the same order; else as they are."""
    keys = list(records[0]) if records else []
    if not keys or any(list(record) != keys for record in records):
        return dict(records=list(records))
    return dict(keys=keys, columns=[pack(record[key] for record in records) for key in keys])


def to_records(table: dict[str, Any]) -> list[dict]:
    """The records of :func:`to_columns`.

    Raises:
        ValueError: if the columns differ in length or number.
    """
    if 'records' in table:
        return table['records']
    keys, columns = table['keys'], [unpack(column) for column in table['columns']]
    if len(keys) != len(columns) or len({len(column) for column in columns}) != 1:
        raise ValueError('columns of different lengths')
    return [dict(zip(keys, row)) for row in zip(*columns)]
