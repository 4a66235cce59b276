"""Tables of numbers and JSON in text files, with errors that name the line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aimclr_mm.utils.files import parse_json

from .sources import RecordingError

MAX_CELLS = 10_000_000  # lines times columns; pandas takes up to 35 bytes per cell
BOM = b'\xef\xbb\xbf'


def number_table(
    content: bytes, width: int, columns: Sequence[int] | None = None, separator: str = ' '
) -> np.ndarray:
    """Parse the numbers of a text file, one row per line.

    Row i is line i + 1 of the file, including blank lines. Cells that are missing or not numbers
    are NaN, so that the caller, who knows the format, can report the line.

    Args:
        content: the file.
        width: maximum number of cells in a line.
        columns: cells to keep; all by default.
        separator: the character between two cells.

    Returns:
        (lines, len(columns)) float64.

    Raises:
        RecordingError: if the content is not text or a line has more cells.
    """
    columns = range(width) if columns is None else columns
    content = content.removeprefix(BOM)
    if not content.isascii() or b'\0' in content:
        raise RecordingError('is not plain text')
    lines = content.count(b'\n') + content.count(b'\r')
    if lines * width > MAX_CELLS:
        raise RecordingError(f'has {lines} lines; at most {MAX_CELLS // width} are read')

    # a header sets the number of cells; values in one more column show that a line has too many
    header = separator.join(map(str, range(width + 1))).encode()
    table = _parse_csv(header + b'\n' + content, [*columns, width], separator)

    surplus = np.flatnonzero(~np.isnan(table[:, -1]))
    if len(surplus):
        raise RecordingError(f'line {surplus[0] + 1}: more than {width} values')
    return table[:, :-1]


def _parse_csv(content: bytes, columns: list[int], separator: str) -> np.ndarray:
    """Return some columns of a table with a header; the last one is 0 where it holds text."""
    import pandas as pd  # here: a slow import

    options = dict(
        sep=separator,
        usecols=columns,
        skip_blank_lines=False,
        index_col=False,
        low_memory=False,
        quoting=csv.QUOTE_NONE,
    )
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=np.float64, **options)
    except pd.errors.ParserError as error:
        raise RecordingError(f'is not a table of numbers ({error})') from error
    except (ValueError, OverflowError):  # a cell is not a number
        text = pd.read_csv(io.BytesIO(content), dtype=str, **options)
        table = text.apply(pd.to_numeric, errors='coerce')
        table[table.columns[-1]] = np.where(text.iloc[:, -1].isna(), np.nan, 0)
    return table.to_numpy(dtype=np.float64)


def parse_text(content: bytes, parse: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """Parse a text file whose cells are separated by any number of blanks and tabs.

    Args:
        content: the file.
        parse: parser of cells that are separated by single blanks; may raise RecordingError.
    """
    # most files need no substitution, which takes longer than parsing
    if content.startswith(b' ') or any(mark in content for mark in (b'\t', b'  ', b'\n ')):
        content = content.replace(b'\t', b' ')
        while b'  ' in content:
            content = content.replace(b'  ', b' ')
        for end in (b'\r', b'\n'):
            content = content.replace(b' ' + end, end)
        content = content.replace(b'\n ', b'\n').strip(b' ')
    return parse(content)


def fits_float32(numbers: np.ndarray) -> np.ndarray:
    """Return which rows (..., cells) hold only finite numbers within the range of float32."""
    return (np.abs(numbers) <= np.finfo(np.float32).max).all(axis=-1)


def whole_number(value: float, line: int, name: str, low: int, high: int) -> int:
    """Check a count or an index from a table and return it.

    Args:
        value: the cell, NaN if it is missing or not a number.
        line: 1-based line, for the message.
        name: name of the number, for the message.
        low, high: inclusive limits.

    Raises:
        RecordingError: if the value is not a whole number within the limits.
    """
    if not math.isfinite(value) or value != int(value):
        raise RecordingError(f'line {line}: {name} is missing or not a whole number')
    if not low <= value <= high:
        raise RecordingError(f'line {line}: {name} is {value:.15g}; it must be {low} to {high}')
    return int(value)


def load_json(content: str | bytes, **kwargs: Any) -> Any:
    """Parse JSON text.

    Args:
        content: the text.
        **kwargs: arguments of :func:`json.loads`.

    Raises:
        RecordingError: if it is not valid JSON, or too large, see
            :func:`aimclr_mm.utils.files.parse_json`.
    """
    try:
        return parse_json(content, **kwargs)
    except ValueError as error:
        raise RecordingError(f'is not readable JSON ({error})') from error


def is_number(text: str) -> bool:
    """Return whether text is a decimal number, nan or inf."""
    try:
        float(text)
    except ValueError:
        return False
    return '_' not in text  # float() accepts 1_000
