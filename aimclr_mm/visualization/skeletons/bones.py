"""Bones as colored lines, and the legend that explains them; shared by strips and animations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aimclr_mm.skeletons import Layout

# from aimclr_mm.visualization.figures.PALETTE; the three differ in lightness too
SIDE_COLORS = {'left': '#3f90da', 'right': '#bd1f01', 'middle': '#717581'}
TEXT_COLOR, EDGE_COLOR, MARK_COLOR = '#606060', '#d0d0d0', '#ffa90e'


def side_of(joint: str) -> str:
    """Return ``left``, ``right`` or ``middle`` from the name of a joint."""
    return next((side for side in ('left', 'right') if joint.startswith(f'{side}_')), 'middle')


def bone_colors(layout: Layout) -> list[str]:
    """Return a color for each of ``layout.edges``, by the side of its outer joint."""
    return [SIDE_COLORS[side_of(layout.joints[joint])] for joint, _ in layout.edges]


def person_color(color: str, person: int) -> tuple[float, ...]:
    """Return the color of the 0-based person: further people are lighter."""
    white = min(0.55 * person, 0.75)
    return tuple(white + (1 - white) * channel for channel in to_rgb(color))


def add_bones(axes: Axes, layout: Layout, people: int, width: float = 1.6) -> list[LineCollection]:
    """Add one collection of bones per person, to be placed by :func:`place_bones`."""
    collections = []
    for person in range(people):
        colors = [person_color(color, person) for color in bone_colors(layout)]
        lines = LineCollection([], colors=colors, linewidths=width, capstyle='round')
        collections.append(axes.add_collection(lines, autolim=False))
    return collections


def place_bones(lines: Sequence[LineCollection], points: np.ndarray, layout: Layout) -> None:
    """Move the bones of M people to joints (M, V, 2); bones with a NaN end are not drawn."""
    for collection, joints in zip(lines, points):
        collection.set_segments(joints[np.asarray(layout.edges)])


def mark(marker: str, x: Sequence[float], y: Sequence[float], **kwargs) -> Line2D:
    """Return markers without a line; circles are hollow."""
    return Line2D(
        x,
        y,
        linestyle='none',
        marker=marker,
        color=MARK_COLOR,
        markerfacecolor='none' if marker == 'o' else MARK_COLOR,
        markersize=6,
        **kwargs,
    )


def add_legend(
    figure: Figure,
    people: int,
    marks: Mapping[str, str] | None = None,
    borders: Mapping[str, str] | None = None,
) -> None:
    """Explain sides, people, marks and borders at the top right of a picture.

    Args:
        figure: the picture.
        people: largest number of people in one of its strips.
        marks: matplotlib marker -> meaning.
        borders: color of a strip's border -> meaning.
    """
    handles = [
        Line2D([], [], color=color, linewidth=2, label=side) for side, color in SIDE_COLORS.items()
    ]
    if people > 1:
        color = person_color(SIDE_COLORS['left'], 1)
        handles.append(Line2D([], [], color=color, linewidth=2, label='further people: lighter'))
    for marker, label in (marks or {}).items():
        handles.append(mark(marker, [], [], label=label))
    for color, label in (borders or {}).items():
        handles.append(Patch(facecolor='none', edgecolor=color, linewidth=2, label=label))

    figure.legend(
        handles=handles, loc='outside upper right', ncols=len(handles), frameon=False, fontsize=9
    )


def shorten(title: str, longest: int) -> str:
    """Cut the middle out of each line of a title that has more than ``longest`` characters.

    Characters of file names that are not UTF-8, which matplotlib cannot draw, are escaped.
    """
    title = title.encode('utf-8', 'backslashreplace').decode()
    half = longest // 2
    return '\n'.join(
        line if len(line) <= longest else f'{line[: half - 1]}…{line[-half:]}'
        for line in title.split('\n')
    )
