"""Sequences as animated GIFs that play at the speed of the recording."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from rich.console import Console
from rich.progress import track

from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.files import atomic_write

from .bones import (
    EDGE_COLOR,
    SIDE_COLORS,
    TEXT_COLOR,
    add_bones,
    add_legend,
    person_color,
    place_bones,
    shorten,
)
from .geometry import View, bounding_box, present_people, project_joints

SIZE, DPI = 4.8, 100  # side of the square picture in inches, dots per inch
MARGIN = 1.08  # width of the axes in widths of the clip
MAX_FPS = 50  # players slow down GIFs whose frames are shorter than 2 / 100 s
MAX_FRAMES = 3000
MAX_TITLE = 60  # characters
PROGRESS_FRAMES = 100  # longer sequences show a progress bar


def animate(
    sequence: Mapping,
    layout: Layout,
    path: str,
    fps: float = 30.0,
    title: str = '',
    view: View | None = None,
) -> None:
    """Write a sequence as an animated GIF that repeats forever.

    Args:
        sequence, layout, title, view: see :func:`render`.
        path: the .gif file.
        fps: frames per second of the recording, at most 50; less for slow motion.

    Raises:
        ValueError: for another file ending or frame rate, more than 3,000 frames, or a sequence
            that cannot be drawn.
    """
    frames = np.asarray(sequence['keypoint']).shape[1]
    if os.path.splitext(path)[1].lower() != '.gif':
        raise ValueError(f'{path!r}: an animation is a .gif file')
    if frames > MAX_FRAMES:
        name = sequence.get('frame_dir', 'sequence')
        raise ValueError(f'{name!r} has {frames} frames; a GIF holds at most {MAX_FRAMES}')
    times = durations(frames, fps)

    palette = _palette()
    pictures = track(
        render(sequence, layout, title, view),
        'Drawing',
        frames,
        console=Console(stderr=True),
        disable=frames < PROGRESS_FRAMES,
    )
    images = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    with atomic_write(path, 'wb') as file:
        images[0].save(
            file, format='GIF', save_all=True, append_images=images[1:], duration=times, loop=0
        )


def durations(frames: int, fps: float) -> list[int]:
    """Return the milliseconds of each frame, multiples of 10 (as GIF requires) that keep time.

    Args:
        frames: number of frames.
        fps: frames per second, above 0 and at most 50.

    Raises:
        ValueError: for another frame rate.
    """
    if not 0 < fps <= MAX_FPS:
        raise ValueError(
            f'fps={fps:g}; a GIF plays more than 0 and at most {MAX_FPS} frames a second'
        )
    ends = np.floor(np.arange(frames + 1) * 100 / fps + 0.5).astype(int)  # hundredths of a second
    return (np.diff(ends) * 10).tolist()


def render(
    sequence: Mapping, layout: Layout, title: str = '', view: View | None = None
) -> Iterator[np.ndarray]:
    """Yield one picture (H, W, 3) uint8 per frame; frames that show nobody are empty.

    Args:
        sequence, layout, view: see :func:`~.geometry.project_joints`.
        title: text above the picture.
    """
    points = project_joints(sequence, layout, view)
    people = int(present_people(sequence).sum())
    figure, lines, text = _scene(points, layout, title, people)
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine('none')  # compute the layout once, so that nothing moves

    for t in range(points.shape[1]):
        place_bones(lines, points[:, t], layout)
        text.set_text(f'frame {t} of {points.shape[1]}')
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _scene(
    points: np.ndarray, layout: Layout, title: str, people: int
) -> tuple[Figure, list[LineCollection], Text]:
    """Return the figure, each person's bones and the frame counter; axes hold the whole clip."""
    figure = Figure(figsize=(SIZE, SIZE), dpi=DPI, layout='constrained')
    axes = figure.subplots()

    center, size = bounding_box(points)
    low, high = center - MARGIN / 2 * size, center + MARGIN / 2 * size
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect='equal', xticks=[], yticks=[])
    axes.set_title(shorten(title, MAX_TITLE), fontsize=9, parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=EDGE_COLOR, linewidth=0.6)
    add_legend(figure, people)

    text = axes.text(0.01, 0.01, '', transform=axes.transAxes, fontsize=8, color=TEXT_COLOR)
    return figure, add_bones(axes, layout, len(points), width=2.4), text


def _palette() -> Image.Image:
    """Return one palette for all frames, so that colors do not flicker.

    It contains the colors of bones and text, and tints of them towards white for smooth edges.
    """
    bones = [person_color(color, person) for color in SIDE_COLORS.values() for person in range(3)]
    colors = np.array([*bones, *map(to_rgb, (TEXT_COLOR, EDGE_COLOR, 'black'))])  # (12, 3)
    strength = np.linspace(1, 0, 5)[:, None, None]
    tints = (1 - strength * (1 - colors)).reshape(-1, 3)
    visible = tints[tints.min(axis=1) < 0.9]  # almost white ones would replace white
    tints = np.vstack([visible, np.ones(3)])

    image = Image.new('P', (1, 1))
    image.putpalette((tints * 255).round().astype(np.uint8).tobytes())
    return image
