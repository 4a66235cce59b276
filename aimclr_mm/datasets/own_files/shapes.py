"""Sizes up to which recordings are read, and people and channels in frames of a given width."""

from __future__ import annotations

from aimclr_mm.datasets.readers.sources import MAX_BYTES, RecordingError
from aimclr_mm.skeletons import LAYOUTS, Layout

MAX_TEXT = 64 * 2**20  # bytes; text takes many times its size while it is parsed
MAX_FRAMES = 1_000_000
MAX_PEOPLE = 64
MAX_VALUES = MAX_BYTES // 4  # float32
MAX_FILLED = MAX_VALUES // 2  # including those of people and frames that the file leaves out


def check_size(people: int, frames: int, values: int, limit: int = MAX_VALUES) -> None:
    """Raise RecordingError if a sequence exceeds one of the limits."""
    if people > MAX_PEOPLE or frames > MAX_FRAMES or values > limit:
        raise RecordingError(
            f'has {people} people, {frames} frames and {values} values; the limits are '
            f'{MAX_PEOPLE}, {MAX_FRAMES} and {limit}'
        )


def fitting_widths(width: int, layout: Layout) -> list[tuple[int, int]]:
    """Return (people, channels) of all ways to read frames of ``width`` values."""
    joints, dims = layout.num_joints, layout.dims
    return [
        (width // (joints * channels), channels)
        for channels in (dims, dims + 1)
        if width and width % (joints * channels) == 0
    ]


def split_width(width: int, layout: Layout) -> tuple[int, int]:
    """Return the number of people and of channels in frames of ``width`` values.

    Raises:
        RecordingError: if there is no way to read them, or more than one.
    """
    joints, dims = layout.num_joints, layout.dims
    fits = fitting_widths(width, layout)
    if not fits:
        raise RecordingError(
            f'has {width} values a frame; {joints} joints (layout {layout.name}) make '
            f'{joints * dims} for each person, or {joints * (dims + 1)} with scores'
            f'{suggest_layouts(width)}'
        )
    if len(fits) == 2:
        raise RecordingError(
            f'has {width} values a frame, which may be {fits[0][0]} people or {fits[1][0]} with '
            'scores; save an array (people, frames, joints, channels) as .npy'
        )
    return fits[0]


def suggest_layouts(width: int) -> str:
    """Return a remark on the built-in layouts that one person of ``width`` values may have."""
    names = [
        layout.name
        for layout in LAYOUTS.values()
        if width in (layout.num_joints * layout.dims, layout.num_joints * (layout.dims + 1))
    ]
    return f'; the layout may be {" or ".join(names)}' if names else ''
