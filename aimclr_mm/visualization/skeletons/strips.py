"""Film strips: some frames of a sequence side by side, several sequences one below another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aimclr_mm.skeletons import Layout
from aimclr_mm.visualization.figures import save_figure

from .geometry import SIDES, View, bone_colors, choose_frames, drawn_points, limits, present_people

WIDTH = 12.0  # of a picture, inches
TALL = 1.16  # height of a strip with the numbers of its frames, over that of the poses
MOST = 120  # strips in a picture
LONGEST = 120  # letters of a title over the whole width
TEXT, EDGE = '#606060', '#d0d0d0'
MARK = '#ffa90e'  # circles and crosses


@dataclass(frozen=True)
class Strip:
    """One sequence of a picture.

    Args:
        sequence: annotation with ``keypoint`` (M, T, V, C) and perhaps ``keypoint_score`` (M, T, V).
        title: stands above it.
        border: colour of the frame round it; none if not given.
        circles: (M, T, V) in 0 to 1; a joint gets a circle of that share of the largest area.
        crosses: (M, T, V) booleans; a joint gets a cross.
    """

    sequence: Mapping
    title: str = ''
    border: str | None = None
    circles: np.ndarray | None = None
    crosses: np.ndarray | None = None


def lighten(color: str, person: int) -> tuple[float, ...]:
    """The colour of a further person: the second one's is half way to white."""
    share = min(0.55 * person, 0.75)
    return tuple(share + (1 - share) * part for part in to_rgb(color))


def add_people(axes: Axes, layout: Layout, people: int, width: float = 1.6) -> list[LineCollection]:
    """Bones of each person, without places yet; see :func:`place_bones`."""
    colors = bone_colors(layout)
    return [
        axes.add_collection(
            LineCollection(
                [], colors=[lighten(c, m) for c in colors], linewidths=width, capstyle='round'
            ),
            autolim=False,
        )
        for m in range(people)
    ]


def place_bones(lines: Sequence[LineCollection], points: np.ndarray, layout: Layout) -> None:
    """Moves the bones of M people to joints (M, V, 2); a bone whose joint is NaN disappears."""
    for collection, joints in zip(lines, points):
        collection.set_segments(joints[np.asarray(layout.edges)])


def legend(
    figure: Figure,
    people: int,
    marks: Mapping[str, str] | None = None,
    borders: Mapping[str, str] | None = None,
) -> None:
    """Explains sides, people, marks and frames at the top right of a picture.

    Args:
        figure: the picture.
        people: how many people it shows at most.
        marks: for a marker of matplotlib what it means.
        borders: the same for the colour of a frame round a strip.
    """
    handles = [
        Line2D([], [], color=color, linewidth=2, label=name) for name, color in SIDES.items()
    ]
    if people > 1:
        handles.append(
            Line2D(
                [],
                [],
                color=lighten(SIDES['left'], 1),
                linewidth=2,
                label='further people: lighter',
            )
        )
    handles += [_mark(marker, [], [], label=label) for marker, label in (marks or {}).items()]
    handles += [
        Patch(facecolor='none', edgecolor=color, linewidth=2, label=label)
        for color, label in (borders or {}).items()
    ]
    figure.legend(
        handles=handles, loc='outside upper right', ncols=len(handles), frameon=False, fontsize=8
    )


def _mark(marker: str, x, y, **kwargs) -> Line2D:
    face = 'none' if marker == 'o' else MARK
    return Line2D(
        x,
        y,
        linestyle='none',
        marker=marker,
        color=MARK,
        markerfacecolor=face,
        markersize=6,
        **kwargs,
    )


def shorten(title: str, longest: int) -> str:
    """Each line of a title with its middle left out where it has more letters than ``longest``."""
    half = longest // 2
    return '\n'.join(
        line if len(line) <= longest else f'{line[: half - 1]}…{line[-half:]}'
        for line in title.split('\n')
    )


@dataclass(frozen=True)
class _Row:
    """A strip, its points (M, T, V, 2), the frames shown, and the box of the clip."""

    strip: Strip
    points: np.ndarray
    frames: np.ndarray
    center: np.ndarray
    size: np.ndarray


def _row(strip: Strip, layout: Layout, frames: int | None, view: View | None) -> _Row:
    points = drawn_points(strip.sequence, layout, view)
    chosen = choose_frames(points, frames, strip.sequence.get('frame_dir', 'sequence'))
    return _Row(strip, points, chosen, *limits(points))


def _draw_row(
    axes: Axes, row: _Row, layout: Layout, cell: np.ndarray, scale: float, longest: int
) -> None:
    """Draws frame after frame into cells of (width, height) side by side."""
    width, height = cell
    size = 6.0 * min(1.0, 10 / max(len(row.frames), 1))
    for place, t in enumerate(row.frames):
        points = (row.points[:, t] - row.center) * scale + [
            (place + 0.5) * width,
            height / 2,
        ]  # (M, V, 2)
        place_bones(add_people(axes, layout, len(points)), points, layout)
        if row.strip.circles is not None:
            axes.scatter(
                *points.reshape(-1, 2).T,
                s=90 * row.strip.circles[:, t].ravel(),
                facecolors='none',
                edgecolors=MARK,
                linewidths=1.0,
                zorder=3,
            )
        if row.strip.crosses is not None:
            axes.add_line(_mark('x', *points[row.strip.crosses[:, t]].T, zorder=4))
        axes.text(
            (place + 0.5) * width,
            -0.09 * height,
            f'frame {t}' if place == 0 else str(t),
            ha='center',
            fontsize=max(size, 5),
            color=TEXT,
        )
    axes.set(
        xlim=(0, len(row.frames) * width),
        ylim=((1.02 - TALL) * height, 1.02 * height),
        aspect='equal',
        xticks=[],
        yticks=[],
    )
    axes.set_title(shorten(row.strip.title, longest), fontsize=9, loc='left', parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=row.strip.border or EDGE, linewidth=2.5 if row.strip.border else 0.6)


def add_strips(
    axes: Sequence[Axes],
    strips: Sequence[Strip],
    layout: Layout,
    frames: int | None = None,
    view: View | None = None,
    same_scale: bool = False,
    columns: int = 1,
) -> float:
    """Draws strips into axes of a picture; see :func:`draw_strips`.

    Returns:
        Height of a strip divided by its width.
    """
    rows = [_row(strip, layout, frames, view) for strip in strips]
    sizes = np.stack([row.size for row in rows])  # (strips, 2)
    ratio = (
        sizes[:, 0].max() / sizes[:, 1].max() if same_scale else (sizes[:, 0] / sizes[:, 1]).max()
    )
    height = 2.6 if len(strips) <= 4 * columns else 1.3  # inches, at most
    count = max(len(row.frames) for row in rows)
    ratio = max(np.clip(ratio, 0.45, 2.0), WIDTH / columns * TALL / (count * height))
    cell = np.array([ratio, 1.0])
    scales = [(cell / row.size).min() * 0.92 for row in rows]
    for axis, row, scale in zip(axes, rows, scales):
        _draw_row(axis, row, layout, cell, min(scales) if same_scale else scale, LONGEST // columns)
    return TALL / (ratio * count)


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
    """Draws sequences as film strips, one below another.

    Left and right have different colours, further people lighter ones. Limits are equal over the whole clip.

    Args:
        strips: the sequences, at most 120.
        layout: joint layout of all of them.
        path: picture to write: .png, .svg or .pdf; not written if not given.
        frames: poses of a strip; 8, or all where there are fewer, if not given.
        view: from where 3-D skeletons are looked at.
        same_scale: whether all strips have one scale, to compare sizes; if not, each fills its place.
        columns: strips side by side; they fill row after row.
        borders: what the colours of the strips' frames mean, for the legend.

    Returns:
        The picture.

    Raises:
        ValueError: for another ending, for no or too many strips, for a sequence of another layout, without a
            skeleton, or with fewer frames than are asked for.
    """
    if not 1 <= len(strips) <= MOST:
        raise ValueError(f'{len(strips)} film strips; a picture holds 1 to {MOST}')
    lines = -(-len(strips) // columns)
    figure = Figure(figsize=(WIDTH, 1.0), layout='constrained')
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    ratio = add_strips(axes, strips, layout, frames, view, same_scale, columns)
    for axis in axes[len(strips) :]:
        axis.set_axis_off()
    text = 0.28 * max(strip.title.count('\n') + 1 for strip in strips)
    figure.set_figheight(0.35 + lines * (WIDTH / columns * ratio + text))
    legend(figure, max(present_people(strip.sequence).sum() for strip in strips), borders=borders)
    if path is not None:
        save_figure(figure, path)
    return figure
