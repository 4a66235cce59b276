"""Colors and file formats that all pictures share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aimclr_mm.utils.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ('.png', '.svg', '.pdf')

# Petroff, "Accessible Color Sequences for Data Visualization" (arXiv 2107.02270): ten colors that
# people with a color vision deficiency can tell apart.
PALETTE = (
    '#3f90da',
    '#ffa90e',
    '#bd1f01',
    '#94a4a2',
    '#832db6',
    '#a96b59',
    '#e76300',
    '#b9ac70',
    '#717581',
    '#92dadd',
)


def picture_format(path: str) -> str:
    """Return the matplotlib format of a picture's file name.

    Raises:
        ValueError: for an ending other than those in ``FORMATS``.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise ValueError(f'{path!r}: a picture is a .png, .svg or .pdf file')
    return ending[1:]


def save_figure(figure: Figure, path: str) -> None:
    """Write a figure atomically, in the format of its ending, with all that is outside its axes."""
    name = picture_format(path)
    with atomic_write(path, 'wb') as file:
        figure.savefig(file, format=name, dpi=150, bbox_inches='tight')
