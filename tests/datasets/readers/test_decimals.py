"""Many numbers at once, against Python's own parser; anything unusual is left to others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimclr_mm.datasets.readers.decimals import leading_cells, plain_decimals


def parse(cells: list[str]) -> np.ndarray | None:
    """The cells, with digits, points and minus signs right beside each of them."""
    text = 'some other line 9'
    begins = []
    for cell in cells:
        begins.append(len(text))
        text += f'{cell}-9.'
    ends = [begin + len(cell) for begin, cell in zip(begins, cells)]
    return plain_decimals(np.frombuffer(text.encode(), np.uint8), np.array(begins), np.array(ends))


def place_point(sign: bool, digits: str, point: int) -> str:
    """A decimal with the point after that many digits, without one for -1."""
    point = min(point, len(digits))
    return '-' * sign + (digits[:point] + '.' + digits[point:] if point >= 0 else digits)


CELL = st.builds(
    place_point, st.booleans(), st.text('0123456789', min_size=1, max_size=9), st.integers(-1, 9)
)


@settings(max_examples=500, deadline=None)
@given(st.lists(CELL, min_size=1, max_size=9))
def test_equal_to_the_parser_of_single_numbers(cells):
    expected = np.array([float(cell) for cell in cells])
    result = parse(cells)
    assert result.view(np.int64).tolist() == expected.view(np.int64).tolist(), (
        cells
    )  # bit by bit, also -0.0


@pytest.mark.parametrize(
    'cell',
    [
        '1e5',
        'nan',
        'inf',
        '+1',
        '1-2',
        '1.2.3',
        '-',
        '.',
        '-.',
        '',
        '0x1',
        '1_0',
        '1,5',
        'a',
        '1234567890.1',
        '0.12345678901',
        '--1',
        '1\r',
        '1\t2',
        ' 1',
        '1 ',
        '1\n2',
    ],
)
@pytest.mark.parametrize('place', [0, 1, 2])
def test_what_is_no_plain_decimal_is_left_to_others(cell, place):
    cells = ['0.5', '-1.25', '3']
    assert parse(cells).tolist() == [0.5, -1.25, 3]
    cells[place] = cell
    assert parse(cells) is None


def test_no_numbers_and_too_near_to_the_beginning():
    none = np.array([], dtype=np.int64)
    assert plain_decimals(np.zeros(50, np.uint8), none, none) is None
    assert plain_decimals(np.frombuffer(b'1 2 3', np.uint8), np.array([0]), np.array([1])) is None


def test_cells_of_lines():
    lines = [
        'head of the file',
        '1 -22 3.25 4 5 6 7 8 9',
        '0.123456789 -0.12345678 3 4 5',
        '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16',
    ]
    text = np.frombuffer('\r\n'.join(lines).encode(), np.uint8)
    starts = np.cumsum([0] + [len(line) + 2 for line in lines])[1:-1]
    begins, ends = leading_cells(text, starts, 3)
    found = [[bytes(text[b:e]).decode() for b, e in zip(*pair)] for pair in zip(begins.T, ends.T)]
    assert found == [line.split(' ')[:3] for line in lines[1:]]
    assert (
        leading_cells(text, starts[:0], 3) is None and leading_cells(text[:-10], starts, 3) is None
    )
    assert (
        leading_cells(np.frombuffer(b'9' * 40 + b' 1 2 3 4 5 6 7 8 9', np.uint8), np.array([0]), 3)
        is None
    )
