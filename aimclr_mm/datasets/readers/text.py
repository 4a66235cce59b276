"""Tables of numbers in plain text, read at the speed of pandas' parser and reported by line."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .sources import RecordingError

MAX_CELLS = 10_000_000  # lines times columns; the parser holds about 16 bytes for each


def number_table(
    content: bytes, width: int, columns: range | list[int] | None = None, separator: str = ' '
) -> np.ndarray:
    """The numbers of a text file, one row a line.

    Row i is line i + 1 of the file, blank lines included. A cell that is missing or is no number is NaN, so that
    whoever knows the format can say what is wrong in which line.

    Args:
        content: the file.
        width: largest number of cells in a line.
        columns: the cells to keep; all by default.
        separator: the one character that stands between two cells.

    Returns:
        (lines, len(columns)) float64.

    Raises:
        RecordingError: if the content is no text or a line has more cells.
    """
    columns = list(range(width) if columns is None else columns)
    content = content.removeprefix(b'\xef\xbb\xbf')
    if not content.isascii() or b'\0' in content:
        raise RecordingError('is no plain text')
    lines = content.count(b'\n') + content.count(b'\r')
    if lines * width > MAX_CELLS:
        raise RecordingError(f'has {lines} lines; at most {MAX_CELLS // width} are read')
    # a header of our own says how many cells a line may have; what stands in one column more is too much
    content = separator.join(map(str, range(width + 1))).encode() + b'\n' + content
    options = dict(
        sep=separator,
        usecols=[*columns, width],
        skip_blank_lines=False,
        index_col=False,
        low_memory=False,
        quoting=csv.QUOTE_NONE,
    )
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=np.float64, **options)
    except pd.errors.ParserError as error:
        raise RecordingError(f'is no table of numbers ({error})') from error
    except (ValueError, OverflowError):  # some cell is no number
        text = pd.read_csv(io.BytesIO(content), dtype=str, **options)
        table = text.apply(pd.to_numeric, errors='coerce')
        table[table.columns[-1]] = np.where(text.iloc[:, -1].isna(), np.nan, 0)
    table = table.to_numpy(dtype=np.float64)  # (lines, columns and the surplus)
    surplus = np.flatnonzero(~np.isnan(table[:, -1]))
    if len(surplus):
        raise RecordingError(f'line {surplus[0] + 1}: more than {width} values')
    return table[:, :-1]


def parse_text(content: bytes, parse: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """Parses a file whose cells are separated by single blanks, and one with tabs, more blanks or blanks at the ends.

    Args:
        content: the file.
        parse: what understands single blanks and raises RecordingError.
    """
    try:
        if b'\t' not in content:
            return parse(content)
    except RecordingError:
        if b' ' not in content:
            raise
    single = re.sub(rb'[ \t]+', b' ', content)
    return parse(re.sub(rb'^ | $| (?=\r)', b'', single, flags=re.MULTILINE))


def fits_float32(numbers: np.ndarray) -> np.ndarray:
    """Which rows (..., cells) hold nothing but finite numbers that float32 can hold."""
    return (np.abs(numbers) <= np.finfo(np.float32).max).all(axis=-1)


def whole_number(value: float, line: int, what: str, low: int, high: int) -> int:
    """A count or an index from a table, checked.

    Args:
        value: the cell, NaN if it is missing or no number.
        line: 1-based line, for the message.
        what: its meaning, for the message.
        low, high: limits, both allowed.
    """
    if not math.isfinite(value) or value != int(value):
        raise RecordingError(f'line {line}: {what} is missing or no whole number')
    if not low <= value <= high:
        raise RecordingError(f'line {line}: {what} is {value:.15g}; it must be {low} to {high}')
    return int(value)


def load_json(content: str | bytes, **kwargs: Any) -> Any:
    """The content of JSON text.

    Args:
        content: the text.
        **kwargs: of :func:`json.loads`.

    Raises:
        RecordingError: if it is none.
    """
    try:
        return json.loads(content, **kwargs)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f'is no readable JSON ({error})') from error


def is_number(text: str) -> bool:
    """Whether text is a number, also nan or inf."""
    try:
        float(text)
    except ValueError:
        return False
    return '_' not in text  # which Python's own numbers may have
