"""Film strips: some frames of a sequence side by side, several sequences below each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aimclr_mm.skeletons import Layout
from aimclr_mm.visualization.figures import save_figure

from .bones import (
    EDGE_COLOR,
    MARK_COLOR,
    TEXT_COLOR,
    add_bones,
    add_legend,
    mark,
    place_bones,
    shorten,
)
from .geometry import View, bounding_box, choose_frames, present_people, project_joints

WIDTH, MIN_WIDTH = 12.0, 6.5  # of a picture, inches
HEIGHT_WITH_NUMBERS = 1.16  # of a strip with its frame numbers, in heights of the poses
FEW_ROWS, TALL_ROW, LOW_ROW = 4, 2.6, 1.3  # rows of poses are this high at most, inches
CELL_RATIOS = (0.45, 2.0)  # width over height of the cell of a pose
FILL = 0.92  # share of its cell that a pose takes at most
MAX_STRIPS = 120  # in a picture
MAX_TITLE = 120  # characters of a title over the full width


@dataclass(frozen=True)
class Strip:
    """One sequence of a picture.

    Args:
        sequence: annotation with ``keypoint`` (M, T, V, C) and optional ``keypoint_score``
            (M, T, V).
        title: text above the strip.
        border: color of the border; a thin gray one if not given.
        circles: (M, T, V) in 0 to 1; area of a circle round the joint, 1 for the largest.
        crosses: (M, T, V) booleans; whether the joint is crossed out.
    """

    sequence: Mapping
    title: str = ''
    border: str | None = None
    circles: np.ndarray | None = None
    crosses: np.ndarray | None = None


@dataclass(frozen=True)
class _Row:
    """A strip with its projected joints (M, T, V, 2), chosen frames, and bounding box."""

    strip: Strip
    points: np.ndarray
    frames: np.ndarray
    center: np.ndarray
    size: np.ndarray


def draw_strips(
    strips: Sequence[Strip],
    layout: Layout,
    path: str | None = None,
    frames: int | None = None,
    view: View | None = None,
    same_scale: bool = False,
    columns: int = 1,
    borders: Mapping[str, str] | None = None,
) -> Figure:
    """Draw sequences as film strips.

    Args:
        strips: the sequences, at most 120.
        layout: joint layout of all of them.
        path: picture to write: .png, .svg or .pdf; None writes none.
        frames: poses per strip; None for 8, or fewer if a sequence is shorter.
        view: viewpoint for 3-D skeletons.
        same_scale: whether all strips share one scale; otherwise each fills its cells.
        columns: strips side by side, filled row by row.
        borders: meaning of the strips' border colors, for the legend.

    Returns:
        The picture.

    Raises:
        ValueError: for an unknown file format, no or too many strips, or a sequence that does not
            match the layout, contains no skeleton, or has fewer frames than requested.
    """
    if not 1 <= len(strips) <= MAX_STRIPS:
        raise ValueError(f'{len(strips)} film strips; a picture holds 1 to {MAX_STRIPS}')

    lines = -(-len(strips) // columns)
    figure = Figure(layout='constrained')
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    width, height = add_strips(axes, strips, layout, frames, view, same_scale, columns)
    for axis in axes[len(strips) :]:
        axis.set_axis_off()

    title_height = 0.28 * max(strip.title.count('\n') + 1 for strip in strips)
    figure.set_size_inches(width * columns, 0.35 + lines * (height + title_height))
    people = max(present_people(strip.sequence).sum() for strip in strips)
    add_legend(figure, people, borders=borders)
    if path is not None:
        save_figure(figure, path)
    return figure


def add_strips(
    axes: Sequence[Axes],
    strips: Sequence[Strip],
    layout: Layout,
    frames: int | None = None,
    view: View | None = None,
    same_scale: bool = False,
    columns: int = 1,
) -> tuple[float, float]:
    """Draw strips into axes of a picture; see :func:`draw_strips`.

    Returns:
        Width and height of a strip, inches.
    """
    rows = [_make_row(strip, layout, frames, view) for strip in strips]
    count = max(len(row.frames) for row in rows)
    highest = TALL_ROW if len(rows) <= FEW_ROWS * columns else LOW_ROW
    ratio = _cell_ratio(rows, same_scale)
    width = float(np.clip(ratio * count * highest, MIN_WIDTH / columns, WIDTH / columns))
    height = min(width / (ratio * count), highest)
    cell = np.array([width / (height * count), 1.0])

    scales = [FILL * (cell / row.size).min() for row in rows]
    if same_scale:
        scales = [min(scales)] * len(rows)
    for axis, row, scale in zip(axes, rows, scales):
        _draw_poses(axis, row, layout, cell, scale)
        _style_axes(axis, row, cell, MAX_TITLE // columns)
    return width, height * HEIGHT_WITH_NUMBERS


def _make_row(strip: Strip, layout: Layout, frames: int | None, view: View | None) -> _Row:
    points = project_joints(strip.sequence, layout, view)
    chosen = choose_frames(points, frames, strip.sequence.get('frame_dir', 'sequence'))
    return _Row(strip, points, chosen, *bounding_box(points))


def _cell_ratio(rows: Sequence[_Row], same_scale: bool) -> float:
    """Return width over height of the cells that fit all poses."""
    widths, heights = np.stack([row.size for row in rows]).T
    ratio = widths.max() / heights.max() if same_scale else (widths / heights).max()
    return float(np.clip(ratio, *CELL_RATIOS))


def _draw_poses(axes: Axes, row: _Row, layout: Layout, cell: np.ndarray, scale: float) -> None:
    """Draw the chosen frames into cells (width, height) side by side."""
    width, height = cell
    fontsize = max(5.0, 7.5 * min(1.0, 10 / len(row.frames)))
    for place, t in enumerate(row.frames):
        middle = np.array([(place + 0.5) * width, height / 2])
        points = (row.points[:, t] - row.center) * scale + middle  # (M, V, 2)
        place_bones(add_bones(axes, layout, len(points)), points, layout)
        _draw_marks(axes, row.strip, t, points)
        if place > 0:
            axes.axvline(place * width, color=EDGE_COLOR, linewidth=0.6, zorder=0)

        number = f'frame {t}' if place == 0 else str(t)
        axes.text(
            middle[0], -0.09 * height, number, ha='center', fontsize=fontsize, color=TEXT_COLOR
        )


def _draw_marks(axes: Axes, strip: Strip, t: int, points: np.ndarray) -> None:
    """Draw the circles and crosses of frame t at its joints (M, V, 2)."""
    if strip.circles is not None:
        axes.scatter(
            *points.reshape(-1, 2).T,
            s=90 * strip.circles[:, t].ravel(),
            facecolors='none',
            edgecolors=MARK_COLOR,
            linewidths=1.0,
            zorder=3,
        )
    if strip.crosses is not None:
        axes.add_line(mark('x', *points[strip.crosses[:, t]].T, zorder=4))


def _style_axes(axes: Axes, row: _Row, cell: np.ndarray, max_title: int) -> None:
    """Set limits, title and border of a strip."""
    width, height = cell
    axes.set(
        xlim=(0, len(row.frames) * width),
        ylim=((1.02 - HEIGHT_WITH_NUMBERS) * height, 1.02 * height),
        aspect='equal',
        xticks=[],
        yticks=[],
    )
    axes.set_title(shorten(row.strip.title, max_title), fontsize=9, loc='left', parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=row.strip.border or EDGE_COLOR, linewidth=2.5 if row.strip.border else 0.6)
