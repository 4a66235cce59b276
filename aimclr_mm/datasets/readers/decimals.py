"""Decimal numbers at known places of a text, many at once.

A parser of whole lines, such as pandas', looks at every cell; of NTU's twelve this project needs three.
"""

from __future__ import annotations

import numpy as np

WIDTH = 11  # characters of a cell: sign, point and at most nine digits
PLACES = np.arange(WIDTH - 1, -1, -1, dtype=np.uint8)[:, None]  # from the right
POWERS = 10.0 ** np.arange(WIDTH + 2)
LOW_PLACES = 6
LOW = (10.0 ** (PLACES[:, 0] % LOW_PLACES)).astype(
    np.float32
)  # within the upper and the lower places
BLANK, MINUS, POINT, ZERO = b' -.0'


def _windows(text: np.ndarray, starts: np.ndarray, width: int) -> np.ndarray:
    """(width, N) characters from each of the N places on; a window is copied as one item, which is fast."""
    overlapping = np.ndarray(len(text) - width + 1, dtype=f'V{width}', buffer=text, strides=(1,))
    return np.ascontiguousarray(overlapping[starts].view(np.uint8).reshape(-1, width).T)


def leading_cells(
    text: np.ndarray, starts: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Where the first cells of lines are, whose cells are separated by single blanks.

    Args:
        text: (characters,) uint8, the file.
        starts: (N,) first character of each line.
        count: cells to find; another one must follow.

    Returns:
        First characters and ends, (count, N) each; None if a cell is too long for :func:`plain_decimals`.
    """
    width = count * (WIDTH + 1)
    if not len(starts) or starts.max() + width > len(text):
        return None
    blanks = (_windows(text, starts, width) == BLANK).view(np.uint8)  # (width, N)
    for before, character in zip(
        blanks, blanks[1:]
    ):  # a running sum; NumPy's is slow over the first axis
        character += before
    ends = np.stack(
        [np.add.reduce(blanks <= cell, axis=0, dtype=np.uint8) for cell in range(count)]
    )
    if ends.max() == width:
        return None
    ends = starts + ends
    return np.concatenate([starts[None], ends[:-1] + 1]), ends


def plain_decimals(text: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """The numbers at some places of a text.

    Only plain decimals are read: a minus perhaps, up to nine digits, with or without a point. They are exact: a
    number below 2^53 over a power of ten below 10^22 is rounded once, as a parser of single numbers does.

    Args:
        text: (characters,) uint8, the file.
        begins, ends: (N,) first character of each number, and the one after its last.

    Returns:
        (N,) float64, or None if one of them is anything else, so that a parser that knows more must do it.
    """
    length = ends - begins
    if not len(ends) or length.min() < 1 or length.max() > WIDTH or ends.min() < WIDTH:
        return None
    characters = _windows(text, ends - WIDTH, WIDTH)  # right-aligned
    inside = length.astype(np.uint8) > PLACES
    digits = characters - np.uint8(ZERO)
    is_digit = (digits < 10) & inside
    is_point = (characters == POINT) & inside
    negative = text[begins] == MINUS
    points = np.add.reduce(is_point, axis=0, dtype=np.uint8)
    digits_found = np.add.reduce(is_digit, axis=0, dtype=np.uint8)
    if (
        (digits_found + points + negative != length).any()
        or points.max() > 1
        or digits_found.min() == 0
    ):
        return None
    parts = (digits * is_digit).astype(np.float32)  # two sums, each exact in float32
    weighted = (LOW[:-LOW_PLACES] @ parts[:-LOW_PLACES]) * POWERS[LOW_PLACES] + LOW[
        -LOW_PLACES:
    ] @ parts[-LOW_PLACES:]
    after = np.add.reduce(is_point * PLACES, axis=0, dtype=np.uint8)  # digits after the point
    below, above = POWERS[after], POWERS[after + 1]
    whole = np.floor(
        weighted / above
    )  # what is before the point stands one place too far to the left
    value = np.where(points, weighted - whole * (above - below), weighted) / below
    return np.where(negative, -value, value)
