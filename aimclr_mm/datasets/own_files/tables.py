"""Tables of numbers, as spreadsheets, sensors' recorders and pose estimators write them.

One line per frame with M * V * C numbers, or one line per joint with C numbers and V lines per
frame. Separators are semicolons, tabs, commas or blanks; decimals have points, or commas where
numbers are separated otherwise. The first line may name the columns: columns whose names end with
x, y, z and visibility (or confidence, score, presence) tell which value is which. Columns of time,
frame or joint numbers may stand in front. An empty cell is a missing value.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aimclr_mm.datasets.readers.sources import RecordingError
from aimclr_mm.datasets.readers.text import MAX_CELLS, is_number
from aimclr_mm.skeletons import Layout

from .column_names import find_channel, order_columns, order_joints
from .shapes import MAX_FRAMES, MAX_PEOPLE, check_size, fitting_widths, split_width

if TYPE_CHECKING:
    import pandas as pd

MAX_CELL = 32  # characters of a number
SAMPLE = 100  # lines that are looked at to recognize separator and decimals
SIGNS = 6  # negative numbers without an exception that show decimal commas
COUNTERS = 3  # most columns in front: time, frame, joint
MISSING = frozenset(('', '-', 'na', 'n/a', 'nan', '-nan', 'null', 'none', '-nan(ind)'))

_COUNTER = re.compile(
    r'(unnamed.*|#|id|t|time.*|timestamp.*|ts|sec.*|ms|date.*|index|idx|frame.*|joint.*|landmark.*|'
    r'key_?point.*|num.*|nr|no)?',
    re.IGNORECASE,
)
_INTEGER = re.compile(r'[+-]?\d+')
_DECIMAL_COMMA = re.compile(r'[+-]?\d*,\d+(e[+-]?\d+)?', re.IGNORECASE)


@dataclass(frozen=True)
class _Form:
    """How the cells of a table are written.

    Args:
        separator: character between two cells, a blank for any number of blanks and tabs.
        decimal: decimal sign.
        names: names of the columns, empty if the first line holds numbers.
    """

    separator: str
    decimal: str
    names: tuple[str, ...]

    def split(self, line: str) -> list[str]:
        """Return the cells of a line."""
        if self.separator == ' ':
            return line.split()
        if '"' in line:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=self.separator))]
        return [cell.strip() for cell in line.split(self.separator)]


def read_table(content: bytes, layout: Layout) -> dict[str, Any]:
    """Read the coordinates of a table; see the module.

    Args:
        content: the file.
        layout: joint layout of the file.

    Returns:
        ``keypoint``, (T, M * V * C) or (1, T, V, C) float64, NaN for missing values; C includes a
        score if there is one.

    Raises:
        RecordingError: if the file is no such table; the message names the line.
    """
    if content.count(b'\n') + content.count(b'\r') > 2 * MAX_FRAMES:
        raise RecordingError(f'has more than {MAX_FRAMES} lines')
    text = _decode(content)
    if not text:
        raise RecordingError('has no frame')
    lines = text.split('\n')
    _check_lines(lines, layout)

    form = _recognize(lines)
    first = 1 if form.names else 0
    if len(lines) == first:
        raise RecordingError('has no frame')
    table = _parse(lines, first, form)
    blank = np.array([not line.strip() for line in lines[first:]])
    return dict(keypoint=_arrange(table, blank, form.names, layout))


def _decode(content: bytes) -> str:
    if content.startswith((b'\xff\xfe', b'\xfe\xff')) or b'\0' in content:
        raise RecordingError('is not plain text (perhaps UTF-16); save it as UTF-8')
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError:
        text = content.decode('latin1')  # names of columns; numbers are ASCII
    return text.replace('\r\n', '\n').replace('\r', '\n').rstrip()


def _check_lines(lines: Sequence[str], layout: Layout) -> None:
    """Raise RecordingError for more or longer lines than a table has."""
    if len(lines) > MAX_FRAMES:
        raise RecordingError(f'has more than {MAX_FRAMES} lines')

    longest = (MAX_PEOPLE * layout.num_joints * (layout.dims + 1) + COUNTERS) * MAX_CELL
    for number, line in enumerate(lines, 1):
        if len(line) > longest:
            raise RecordingError(
                f'line {number}: has {len(line)} characters; a frame has at most {longest}'
            )


# recognition


def _recognize(lines: Sequence[str]) -> _Form:
    """Return separator, decimal sign and column names of a table."""
    sample = [line for line in lines[1 : SAMPLE + 1] if line.strip()] or [lines[0]]
    separator, decimal = _find_separator(sample)
    if not any(len(_Form(separator, decimal, ()).split(line)) > 1 for line in sample):
        separator, decimal = _find_separator([lines[0]])

    form = _Form(separator, decimal, ())
    cells = form.split(lines[0].lstrip('#'))
    names = tuple(cell.strip('"\' ') for cell in cells)

    # pandas numbers columns 0, 1, 2, ... if they have no name, and lines in a first column
    is_range = len(cells) > 2 and any(
        names[start:] == tuple(map(str, range(len(names) - start))) and not any(names[:start])
        for start in (0, 1)
    )
    filled = [name for name in names if not _is_missing(name)]
    words = [name for name in filled if not _is_number(name, decimal)]
    is_header = len(words) > len(filled) / 2 and (len(filled) == len(words) or len(lines) > 1)
    return _Form(separator, decimal, names) if is_range or is_header else form


def _find_separator(sample: Sequence[str]) -> tuple[str, str]:
    """Return separator and decimal sign; refuse commas that may be both."""
    for separator in (';', '\t'):
        if any(separator in line.strip() for line in sample):
            form = _Form(separator, '.', ())
            cells = [cell for line in sample for cell in form.split(line) if cell]
            if separator == '\t' and any(' ' in cell.strip() for cell in cells):
                break  # tabs among blanks
            return separator, _find_decimal(cells, separator)

    if not any(',' in line for line in sample):
        return ' ', '.'
    cells = [cell for line in sample for cell in line.split()]
    with_commas = all(_DECIMAL_COMMA.fullmatch(cell) or is_number(cell) for cell in cells)
    if with_commas and len(cells) > len(sample):
        return ' ', ','

    form = _Form(',', '.', ())
    cells = [form.split(line) for line in sample]
    if any('"' in line for line in sample):
        return ',', _find_decimal([cell for row in cells for cell in row], '"')
    _refuse_comma_pairs(cells)
    return ',', '.'


def _find_decimal(cells: Sequence[str], separator: str) -> str:
    """Return the decimal sign of cells that are not separated by commas alone."""
    with_commas = [cell for cell in cells if ',' in cell]
    if not with_commas:
        return '.'
    has_points = any('.' in cell for cell in cells)
    if not has_points and all(map(_DECIMAL_COMMA.fullmatch, with_commas)):
        return ','
    raise RecordingError(
        f'has commas between numbers that are separated by {separator!r}, such as '
        f'{with_commas[0][:40]!r}; write decimals with points and separate all numbers alike'
    )


def _refuse_comma_pairs(rows: Sequence[Sequence[str]]) -> None:
    """Raise RecordingError if a comma is the decimal sign as well as the separator.

    ``-0,3259,-0,0032`` is two numbers with decimal commas, or four. It is taken for two where only
    every other cell ever has a sign, or where a cell such as ``0032`` or ``-0`` shows it.
    """
    cells = [cell for row in rows for cell in row]
    filled = [cell for cell in cells if not _is_missing(cell)]
    if len(filled) < 2 or not all(_INTEGER.fullmatch(cell) for cell in filled):
        return

    second = [cell for row in rows for cell in row[1::2]]
    signs = sum(cell.startswith('-') for cell in filled)
    padded = any(len(cell) > 1 and cell.startswith('0') for cell in filled)
    unsigned = not any(cell.startswith('-') for cell in second)
    if padded or '-0' in filled or (signs >= SIGNS and unsigned):
        raise RecordingError(
            f'has commas as decimal signs and between the numbers ({",".join(rows[0][:4])},...); '
            'save it with decimal points, or with semicolons or tabs between the numbers'
        )


def _is_number(cell: str, decimal: str) -> bool:
    return is_number(cell.strip('"\' ').replace(decimal, '.'))


def _is_missing(cell: str) -> bool:
    return cell.strip('"\' ').lower() in MISSING


# parsing


def _parse(lines: list[str], first: int, form: _Form) -> pd.DataFrame:
    """Return the cells of all lines from ``first`` on: numbers, NaN where one is missing.

    Columns in front that count, by their name, may hold text.
    """
    import pandas as pd  # here: a slow import

    width = _check_widths(lines, first, form)
    check_size(1, 1, (len(lines) - first) * width, MAX_CELLS)
    content = '\n'.join(lines[first:])
    if form.separator == ' ':
        content = '\n'.join(' '.join(line.split()) for line in lines[first:])

    counters = _named_counters(form.names) if len(form.names) == width else 0
    types = {column: np.float64 if column >= counters else str for column in range(width)}
    try:
        table = pd.read_csv(
            io.StringIO(content),
            sep=form.separator,
            decimal=form.decimal,
            header=None,
            names=range(width),
            dtype=types,
            index_col=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            na_values=sorted(MISSING),
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        raise RecordingError(f'is not a table of numbers ({error})') from error
    except (ValueError, OverflowError):  # a cell is text
        raise _describe_text(lines, first, form, counters) from None

    for column in range(counters):
        numbers = pd.to_numeric(table[column], errors='coerce')
        if numbers.notna().all():
            table[column] = numbers
    return table


def _check_widths(lines: Sequence[str], first: int, form: _Form) -> int:
    """Return the number of cells of a line; all lines that are not blank must have as many."""
    width = 0
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            continue
        cells = len(form.split(line))
        width = width or cells
        if cells != width:
            raise RecordingError(
                f'line {number}: has {cells} values; the lines before it have {width}'
            )
    return width


def _describe_text(lines: Sequence[str], first: int, form: _Form, counters: int) -> RecordingError:
    """Return the error for the first cell that is neither a number nor missing."""
    for number, line in enumerate(lines[first:], first + 1):
        for place, cell in enumerate(form.split(line)[counters:], counters + 1):
            if not _is_number(cell, form.decimal) and not _is_missing(cell):
                return RecordingError(
                    f'line {number}: value {place} is {cell[:40]!r}, which is not a number'
                )
    return RecordingError('is not a table of numbers')


# arrangement


def _arrange(
    table: pd.DataFrame, blank: np.ndarray, names: tuple[str, ...], layout: Layout
) -> np.ndarray:
    """Return (T, M * V * C) or (1, T, V, C) of the cells of all lines.

    Args:
        table: cells of the lines after the names.
        blank: which of these lines are blank, (lines,).
        names: names of the columns, if there are any.
        layout: joint layout.
    """
    width = table.shape[1]
    if len(names) == width + 1 and not names[-1]:
        names = names[:-1]
    if width > 1 and table[width - 1].isna().all() and not (names and names[-1]):
        width -= 1  # lines end with a separator

    names = names[:width] if len(names) >= width else ()
    counters = _named_counters(names) or _find_counters(table, width, blank, layout)
    columns = list(range(counters, width))
    if names:
        columns = [counters + place for place in order_columns(names[counters:], layout)]

    if len(columns) in (layout.dims, layout.dims + 1) and layout.num_joints > 1:
        return _by_joint(table, columns, counters, blank, layout)
    split_width(len(columns), layout)
    return table[columns].to_numpy(dtype=np.float64)


def _named_counters(names: Sequence[str]) -> int:
    """Return the number of columns in front whose names say that they count time or frames."""
    for place, name in enumerate(names[:COUNTERS]):
        if not _COUNTER.fullmatch(name) or find_channel(name):
            return place
    return min(len(names), COUNTERS)


def _find_counters(table: pd.DataFrame, width: int, blank: np.ndarray, layout: Layout) -> int:
    """Return the number of columns in front of the coordinates, by their values."""
    cells = table[~blank]
    per_joint = (layout.dims, layout.dims + 1)
    for counters in range(COUNTERS):
        rest = width - counters
        front = cells.iloc[:, :counters]
        if rest in per_joint and layout.num_joints > 1:
            # x, y and z, or a number of the joint, x and y
            more = cells.iloc[:, : counters + 1]
            if rest - 1 in per_joint and _are_joint_counters(more, layout):
                continue
            if not counters or _are_joint_counters(front, layout):
                return counters
        elif fitting_widths(rest, layout) and (not counters or _are_frame_counters(front)):
            return counters
    return 0


def _are_frame_counters(front: pd.DataFrame) -> bool:
    """Return whether columns increase from frame to frame; all but one may stay in between."""
    steps = front.diff().iloc[1:]
    return len(front) > 1 and bool((steps >= 0).all(axis=None) and (steps > 0).all().any())


def _are_joint_counters(front: pd.DataFrame, layout: Layout) -> bool:
    """Return whether the last or the only column numbers the joints of each frame."""
    joints = layout.num_joints
    if len(front) % joints:
        return False
    numbered = [_numbers_joints(front[column], joints) for column in front]
    stays = [_stays_in_frame(front[column], joints) for column in front]
    return any(numbered) and all(map(any, zip(numbered, stays)))


def _numbers_joints(column: pd.Series, joints: int) -> bool:
    """Return whether a column holds 0 to V - 1, or 1 to V, or the same V names, in each frame."""
    if column.dtype == np.float64:
        values = column.to_numpy() - column.iloc[0]
        is_start = column.iloc[0] in (0, 1)
    else:
        values = _codes(column)
        is_start = True
    return is_start and np.array_equal(values, np.tile(np.arange(joints), len(column) // joints))


def _stays_in_frame(column: pd.Series, joints: int) -> bool:
    """Return whether a column has one value in the V lines of each frame, another in the next."""
    codes = _codes(column)
    return np.array_equal(codes, np.repeat(np.arange(len(codes) // joints), joints))


def _codes(column: pd.Series) -> np.ndarray:
    """Number the values of a column in the order in which they appear."""
    return column.factorize()[0]


def _by_joint(
    table: pd.DataFrame, columns: list[int], counters: int, blank: np.ndarray, layout: Layout
) -> np.ndarray:
    """Return (1, T, V, C) of a table with one line per joint; blank lines separate frames."""
    joints = layout.num_joints
    cells = table[~blank]
    between = np.cumsum(~blank)[blank] % joints
    if len(cells) % joints or between.any():
        raise RecordingError(
            f'has {len(columns)} values in a line, one joint, and {len(cells)} such lines; they '
            f'must be a multiple of the {joints} joints of layout {layout.name} in each frame'
        )
    if counters and not _are_joint_counters(cells.iloc[:, :counters], layout):
        raise RecordingError(
            f'has lines of joints that are not in order: their numbers must be 0 to {joints - 1}, '
            f'or 1 to {joints}, in each frame'
        )
    values = cells[columns].to_numpy(dtype=np.float64).reshape(1, -1, joints, len(columns))
    return values[:, :, _named_order(cells.iloc[:joints, :counters], layout)]


def _named_order(front: pd.DataFrame, layout: Layout) -> list[int]:
    """Return the lines of a frame in the order of the layout, by the names of joints in front."""
    for column in front:
        names = front[column]
        if names.dtype != np.float64 and names.nunique() == len(names):
            return order_joints(list(names.astype(str)), layout)
    return list(range(len(front)))
