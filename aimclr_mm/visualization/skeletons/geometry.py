"""Projection of skeletons into the picture plane, and which frames and joints are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aimclr_mm.skeletons import Y_DOWN, Layout

DEFAULT_FRAMES = 8  # poses of a film strip
IMAGE_AXES = np.diag([1.0, -1.0])  # y of image coordinates points down

# Rotations from the data's axes (x, y, z) to the view's (x', y' up, z'), by the axis that is up.
UP_ROTATIONS = {
    'y': np.eye(3),
    'z': np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    '-y': np.diag([-1, -1, 1]),
}


@dataclass(frozen=True)
class View:
    """Viewpoint of an orthographic projection of 3-D skeletons; 2-D poses are drawn as they are.

    The sensor (``elev=0, azim=0``) looks along +z; x grows to its left with ``up='y'`` (Kinect) and
    to its right with ``up='-y'`` (OpenCV). With ``up='z'`` it looks along +y.

    Args:
        elev: elevation of the viewer in degrees, -90 to 90.
        azim: azimuth of the viewer in degrees, towards growing x for ``up='y'``; 0 is the sensor.
        up: axis of the data that points up: ``y``, ``z`` or ``-y``; None for that of the layout.
    """

    elev: float = 10.0
    azim: float = 20.0
    up: str | None = None

    def __post_init__(self) -> None:
        if self.up is not None and self.up not in UP_ROTATIONS:
            raise ValueError(f'up={self.up!r}; known are {", ".join(UP_ROTATIONS)}')
        if not (-90 <= self.elev <= 90 and np.isfinite(self.azim)):
            raise ValueError(f'elev={self.elev}, azim={self.azim}; degrees, elev from -90 to 90')

    def matrix(self, up: str = 'y') -> np.ndarray:
        """Return the picture's directions right and up, (2, 3), in the data's coordinates.

        Args:
            up: axis that points up where the view does not say it.
        """
        elev, azim = np.radians([self.elev, self.azim])
        right = np.array([-np.cos(azim), 0.0, -np.sin(azim)])
        forward = np.array(
            [-np.sin(azim) * np.cos(elev), -np.sin(elev), np.cos(azim) * np.cos(elev)]
        )
        return np.stack([right, np.cross(right, forward)]) @ UP_ROTATIONS[self.up or up]


def present_people(sequence: Mapping) -> np.ndarray:
    """Return (M,) booleans: whether a person has nonzero coordinates in any frame."""
    return np.asarray(sequence['keypoint']).any(axis=(1, 2, 3))


def project_joints(sequence: Mapping, layout: Layout, view: View | None = None) -> np.ndarray:
    """Project the joints of a sequence into the picture plane, in the unit of the data.

    Args:
        sequence: annotation with ``keypoint`` (M, T, V, C) and optional ``keypoint_score``
            (M, T, V).
        layout: its joint layout.
        view: viewpoint for 3-D layouts.

    Returns:
        (M, T, V, 2), right and up; NaN for what is not drawn: a person in a frame where all its
        coordinates are zero, a joint with score 0, a coordinate that is not finite.

    Raises:
        ValueError: if the shape does not match the layout, or nothing is left to draw.
    """
    name = sequence.get('frame_dir', 'sequence')
    keypoint = np.asarray(sequence['keypoint'], dtype=np.float64)
    _check_shape(name, keypoint, layout)
    keypoint = keypoint[..., : layout.dims]

    shown = keypoint.any(axis=(2, 3))[..., None] & np.isfinite(keypoint).all(axis=3)  # (M, T, V)
    score = sequence.get('keypoint_score')
    if score is not None:
        shown &= np.asarray(score) != 0
    if not shown.any():
        raise ValueError(
            f'{name!r} contains no skeleton: all of its {keypoint.shape[1]} frames are empty'
        )

    up = '-y' if layout.name in Y_DOWN else 'y'
    matrix = IMAGE_AXES if layout.dims == 2 else (view or View()).matrix(up)
    return np.where(shown[..., None], keypoint @ matrix.T, np.nan)


def _check_shape(name: str, keypoint: np.ndarray, layout: Layout) -> None:
    """Raise ValueError if keypoints do not have the shape (M, T, V, C) of a layout."""
    expected = (layout.num_joints, layout.dims)
    if keypoint.ndim != 4 or keypoint.shape[2] != expected[0] or keypoint.shape[3] < expected[1]:
        raise ValueError(
            f'{name!r} has shape {keypoint.shape}; layout {layout.name!r} needs (people, frames, '
            f'{expected[0]}, {expected[1]} or more)'
        )


def bounding_box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return center (2,) and size (2,) of the box around points (..., 2), ignoring NaN.

    No side is shorter than a tenth of the other one, so that the box can be scaled.
    """
    flat = points.reshape(-1, 2)
    low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
    size = high - low
    return (low + high) / 2, np.maximum(size, max(size.max(), 1e-6) * 0.1)


def choose_frames(points: np.ndarray, count: int | None, name: str) -> np.ndarray:
    """Choose evenly spaced frames among those that show somebody.

    Args:
        points: (M, T, V, 2), see :func:`project_joints`.
        count: number of frames; None for 8, or fewer if there are not as many.
        name: name of the sequence, for error messages.

    Raises:
        ValueError: if there are fewer frames than requested.
    """
    visible = np.flatnonzero(np.isfinite(points).any(axis=(0, 2, 3)))
    if count is None:
        count = min(DEFAULT_FRAMES, len(visible))
    if not 1 <= count <= len(visible):
        raise ValueError(
            f'{count} frames requested; {name!r} shows somebody in {len(visible)} frames: '
            f'give 1 to {len(visible)}'
        )
    return visible[np.linspace(0, len(visible) - 1, count).round().astype(int)]
