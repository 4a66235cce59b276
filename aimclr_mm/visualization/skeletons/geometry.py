"""Where joints lie in a picture, which of them are drawn, and in what colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aimclr_mm.skeletons import Layout

# colours of aimclr_mm.visualization.figures.PALETTE: middle, left and right differ in lightness too
SIDES = {'left': '#3f90da', 'right': '#bd1f01', 'middle': '#717581'}
# view frame (x', y' up, z') from data (x, y, z), by the axis that is up; each is a rotation
_UP = {
    'y': np.eye(3),
    'z': np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    '-y': np.diag([-1, -1, 1]),
}


@dataclass(frozen=True)
class View:
    """From where three-dimensional skeletons are looked at, without perspective. 2-D poses are drawn as they are.

    Args:
        elev: degrees by which the viewer stands above the floor, -90 to 90.
        azim: degrees by which the viewer walks round, to the side of growing x for ``up='y'``; 0 is where the sensor
            stands, which looks along +z with x growing to its left (Kinect) or, for ``up='-y'``, along +z with x
            growing to its right (OpenCV); for ``up='z'`` it looks along +y.
        up: the axis of the data that points up: ``y`` (Kinect), ``z`` or ``-y``.
    """

    elev: float = 10.0
    azim: float = 20.0
    up: str = 'y'

    def __post_init__(self) -> None:
        if self.up not in _UP:
            raise ValueError(f'up={self.up!r}; known are {", ".join(_UP)}')
        if not (-90 <= self.elev <= 90 and np.isfinite(self.azim)):
            raise ValueError(f'elev={self.elev}, azim={self.azim}; degrees, elev from -90 to 90')

    def matrix(self) -> np.ndarray:
        """(2, 3): the directions right and up of the picture, in the coordinates of the data."""
        elev, azim = np.radians([self.elev, self.azim])
        right = np.array([-np.cos(azim), 0.0, -np.sin(azim)])
        forward = np.array(
            [-np.sin(azim) * np.cos(elev), -np.sin(elev), np.cos(azim) * np.cos(elev)]
        )
        return np.stack([right, np.cross(right, forward)]) @ _UP[self.up]


def side(joint: str) -> str:
    """``left``, ``right`` or ``middle``, by the name of a joint."""
    return next((name for name in ('left', 'right') if joint.startswith(f'{name}_')), 'middle')


def bone_colors(layout: Layout) -> list[str]:
    """Colour of each of ``layout.edges``: that of the side of its outer joint."""
    return [SIDES[side(layout.joints[joint])] for joint, _ in layout.edges]


def present_people(sequence: Mapping) -> np.ndarray:
    """(M,) booleans: whether a person has coordinates other than zero in some frame."""
    return np.asarray(sequence['keypoint']).any(axis=(1, 2, 3))


def drawn_points(sequence: Mapping, layout: Layout, view: View | None = None) -> np.ndarray:
    """Places of the joints in a picture, in the unit of the data.

    Args:
        sequence: annotation with ``keypoint`` (M, T, V, C) and perhaps ``keypoint_score`` (M, T, V).
        layout: its joint layout.
        view: for three coordinates; see :class:`View`.

    Returns:
        (M, T, V, 2), to the right and up; NaN for what is not drawn: a person in a frame where all its coordinates
        are zero, a joint with a score of zero, and what is not finite.

    Raises:
        ValueError: if the shape is not that of the layout, or there is nothing to draw.
    """
    name, keypoint = (
        sequence.get('frame_dir', 'sequence'),
        np.asarray(sequence['keypoint'], dtype=np.float64),
    )
    if (
        keypoint.ndim != 4
        or keypoint.shape[2] != layout.num_joints
        or keypoint.shape[3] < layout.dims
    ):
        raise ValueError(
            f'{name!r} has shape {keypoint.shape}; layout {layout.name!r} needs (people, frames, '
            f'{layout.num_joints}, {layout.dims} or more)'
        )
    keypoint = keypoint[..., : layout.dims]
    matrix = (
        np.diag([1.0, -1.0]) if layout.dims == 2 else (view or View()).matrix()
    )  # y of an image grows down
    shown = keypoint.any(axis=(2, 3))[..., None] & np.isfinite(keypoint).all(axis=3)  # (M, T, V)
    score = sequence.get('keypoint_score')
    if score is not None:
        shown = shown & (np.asarray(score) != 0)
    if not shown.any():
        raise ValueError(
            f'{name!r} holds no skeleton: all of its {keypoint.shape[1]} frames are empty'
        )
    return np.where(shown[..., None], keypoint @ matrix.T, np.nan)


def limits(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (2,) and size (2,) of the box that holds points (..., 2); a box without width or height gets some."""
    flat = points.reshape(-1, 2)
    low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
    size = high - low
    return (low + high) / 2, np.maximum(size, max(size.max(), 1e-6) * 0.1)


def choose_frames(points: np.ndarray, count: int | None, name: str) -> np.ndarray:
    """Frames of a film strip, evenly drawn from those that show somebody.

    Args:
        points: (M, T, V, 2), see :func:`drawn_points`.
        count: number of frames; None for 8, or all where there are fewer.
        name: of the sequence, for messages.

    Raises:
        ValueError: if there are fewer frames than asked for.
    """
    seen = np.flatnonzero(np.isfinite(points).any(axis=(0, 2, 3)))
    if count is not None and not 1 <= count <= len(seen):
        raise ValueError(
            f'{count} frames are asked for; {name!r} shows somebody in {len(seen)} frames: give 1 to '
            f'{len(seen)}'
        )
    return seen[np.linspace(0, len(seen) - 1, count or min(8, len(seen))).round().astype(int)]
