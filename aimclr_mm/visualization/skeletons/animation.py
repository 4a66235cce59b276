"""A sequence as an animated GIF that plays at the speed of the recording."""

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

from .geometry import SIDES, View, drawn_points, limits, present_people
from .strips import EDGE, TEXT, add_people, legend, lighten, place_bones, shorten

INCHES, DPI = 4.8, 100
MOST_FPS = 50  # players slow a GIF down whose frames are shorter than 2 / 100 s
MOST_FRAMES = 3000
LONG = 100  # frames from which on a progress bar is shown


def durations(frames: int, fps: float) -> list[int]:
    """Milliseconds of each frame: whole hundredths of a second, as GIF has them, whose sum keeps time.

    Args:
        frames: T.
        fps: frames a second, above 0 and up to 50.

    Raises:
        ValueError: for another rate.
    """
    if not 0 < fps <= MOST_FPS:
        raise ValueError(
            f'fps={fps:g}; a GIF plays more than 0 and at most {MOST_FPS} frames a second'
        )
    ends = np.floor(np.arange(frames + 1) * 100 / fps + 0.5).astype(int)
    return (np.diff(ends) * 10).tolist()


def palette() -> Image.Image:
    """The colours of all frames, so that none flickers: lines and text, and their edges on white."""
    lines = [lighten(color, person) for color in SIDES.values() for person in range(3)]
    colors = np.array([*lines, *map(to_rgb, (TEXT, EDGE, 'black'))])  # (12, 3)
    tints = (1 - np.linspace(1, 0, 5)[:, None, None] * (1 - colors)).reshape(-1, 3)
    tints = np.vstack(
        [tints[tints.min(axis=1) < 0.9], np.ones(3)]
    )  # what is almost white would replace it
    image = Image.new('P', (1, 1))
    image.putpalette((tints * 255).round().astype(np.uint8).tobytes())
    return image


def _scene(
    points: np.ndarray, layout: Layout, title: str, people: int
) -> tuple[Figure, list[LineCollection], Text]:
    """Figure, bones of each person, and the text that tells the frame; the axes hold the whole clip."""
    figure = Figure(figsize=(INCHES, INCHES), dpi=DPI, layout='constrained')
    axes = figure.subplots()
    center, size = limits(points)
    low, high = center - 0.54 * size, center + 0.54 * size
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect='equal', xticks=[], yticks=[])
    axes.set_title(shorten(title, 60), fontsize=9, parse_math=False)
    text = axes.text(0.01, 0.01, '', transform=axes.transAxes, fontsize=8, color=TEXT)
    for spine in axes.spines.values():
        spine.set(color=EDGE, linewidth=0.6)
    legend(figure, people)
    return figure, add_people(axes, layout, len(points), width=2.4), text


def render(
    sequence: Mapping, layout: Layout, title: str = '', view: View | None = None
) -> Iterator[np.ndarray]:
    """The pictures (H, W, 3) of an animation, uint8, one a frame; frames that show nobody are empty.

    Args:
        sequence, layout, view: see :func:`~aimclr_mm.visualization.skeletons.geometry.drawn_points`.
        title: stands above them.
    """
    points = drawn_points(sequence, layout, view)
    figure, lines, text = _scene(points, layout, title, int(present_people(sequence).sum()))
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine('none')  # places are the same in all frames, and found once
    for t in range(points.shape[1]):
        place_bones(lines, points[:, t], layout)
        text.set_text(f'frame {t} of {points.shape[1]}')
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def animate(
    sequence: Mapping,
    layout: Layout,
    path: str,
    fps: float = 30.0,
    title: str = '',
    view: View | None = None,
) -> None:
    """Writes a sequence as an animated GIF that repeats for ever.

    Args:
        sequence, layout, title, view: see :func:`render`.
        path: the .gif file.
        fps: frames a second of the recording, at most 50; less for slow motion.

    Raises:
        ValueError: for another ending or rate, more than 3,000 frames, or a sequence that cannot be drawn.
    """
    frames = np.asarray(sequence['keypoint']).shape[1]
    if os.path.splitext(path)[1].lower() != '.gif':
        raise ValueError(f'{path!r}: an animation is a .gif file')
    if frames > MOST_FRAMES:
        raise ValueError(
            f'{sequence.get("frame_dir", "sequence")!r} has {frames} frames; a GIF is made of at most '
            f'{MOST_FRAMES}'
        )
    times, images, colors = durations(frames, fps), [], palette()
    for picture in track(
        render(sequence, layout, title, view),
        'Drawing',
        frames,
        console=Console(stderr=True),
        disable=frames < LONG,
    ):
        images.append(Image.fromarray(picture).quantize(palette=colors, dither=Image.Dither.NONE))
    with atomic_write(path, 'wb') as file:
        images[0].save(
            file, format='GIF', save_all=True, append_images=images[1:], duration=times, loop=0
        )
