"""Cameras that look down or up: turn what they see until people stand upright on average.

A skeleton is given in the axes of its camera. If cameras are tilted by different angles, the same
pose has other coordinates for each of them. The middle of many recordings tells the angle: most
people stand or sit upright most of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimclr_mm.skeletons import Y_DOWN, Layout

NOTICEABLE = 8.0  # degrees; people do not stand perfectly straight
LARGEST = 45.0  # degrees of a camera that is tilted and not turned
FEWEST = 5  # sequences that tell how a camera is tilted
COMMON = 0.5  # length of the median of unit vectors that have a direction in common
SIDES = ('left', 'right')

Camera = tuple[Any, Any]


def has_trunk(layout: Layout) -> bool:
    """Return whether a joint layout has three coordinates, hips and shoulders."""
    names = {f'{side}_{part}' for part in ('hip', 'shoulder') for side in SIDES}
    return layout.dims == 3 and names <= set(layout.joints)


def check_trunk(layout: Layout) -> None:
    """Raise ValueError if a joint layout has no trunk, so that views cannot be leveled."""
    if not has_trunk(layout):
        raise ValueError(
            '--level needs three coordinates, hips and shoulders, which layout '
            f'{layout.name!r} does not have'
        )


def trunk_direction(annotation: Mapping, layout: Layout) -> np.ndarray | None:
    """Return the median direction (3,) from the hips to the shoulders.

    Args:
        annotation: ``keypoint`` (M, T, V, 3) and maybe ``keypoint_score`` (M, T, V), zeros for
            missing joints.
        layout: joint layout.

    Returns:
        None if the layout has no trunk (:func:`has_trunk`), or hips and shoulders are never seen.
    """
    if not has_trunk(layout):
        return None
    keypoint = annotation['keypoint']
    seen = keypoint.any(axis=3)  # (M, T, V)
    if annotation.get('keypoint_score') is not None:
        seen &= annotation['keypoint_score'] > 0
    hips, shoulders = (
        [layout.index(f'{side}_{part}') for side in SIDES] for part in ('hip', 'shoulder')
    )
    lines = keypoint[:, :, shoulders].mean(axis=2) - keypoint[:, :, hips].mean(axis=2)
    lines = lines[seen[:, :, hips + shoulders].all(axis=2)]  # (P, 3)
    lengths = np.linalg.norm(lines, axis=1, keepdims=True)
    lines = (lines / np.where(lengths > 0, lengths, 1))[lengths[:, 0] > 0]
    return np.median(lines, axis=0) if len(lines) else None


def rotation(direction: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the smallest rotation (3, 3) that takes a unit vector to another one."""
    from scipy.spatial.transform import Rotation  # here: a slow import

    return Rotation.align_vectors(up, direction)[0].as_matrix()


class Cameras:
    """How people stand in front of each camera, and how to turn what it saw.

    A camera is a pair of the fields ``setup`` and ``camera`` of annotations; sequences without them
    are taken for those of one camera. One that recorded fewer than :data:`FEWEST` sequences, or
    people without a common direction, is left as it is.

    Args:
        layout: joint layout of the annotations.

    Attributes:
        trunks: directions (3,) of the trunks that each camera saw.
    """

    def __init__(self, layout: Layout) -> None:
        self.up = np.array([0.0, -1.0 if layout.name in Y_DOWN else 1.0, 0.0])
        self.trunks: dict[Camera, list[np.ndarray]] = {}
        self._rotations: dict[Camera, np.ndarray] | None = None

    @staticmethod
    def _camera(annotation: Mapping) -> Camera:
        return annotation.get('setup'), annotation.get('camera')

    def add(self, annotation: Mapping, direction: np.ndarray | None) -> None:
        """Count a sequence, given the direction of its trunk."""
        if direction is not None:
            self.merge({self._camera(annotation): [direction]})

    def merge(self, trunks: Mapping[Camera, list[np.ndarray]]) -> None:
        """Count the sequences of others, given their trunks by camera."""
        for camera, found in trunks.items():
            self.trunks.setdefault(camera, []).extend(found)

    def directions(self) -> dict[Camera, np.ndarray]:
        """Return the unit direction (3,) of the median trunk of each camera."""
        found = {}
        for camera, trunks in self.trunks.items():
            median = np.median(trunks, axis=0)
            length = np.linalg.norm(median)
            if len(trunks) >= FEWEST and length > COMMON:
                found[camera] = median / length
        return found

    def angles(self) -> dict[Camera, float]:
        """Return by how many degrees the median trunk of each camera leans."""
        return {
            camera: float(np.degrees(np.arccos(np.clip(direction @ self.up, -1, 1))))
            for camera, direction in self.directions().items()
        }

    def fit(self) -> None:
        """Find the rotation that turns the median trunk of each camera upright.

        Raises:
            ValueError: if one leans by more than :data:`LARGEST`.
        """
        for (setup, camera), degrees in self.angles().items():
            if degrees > LARGEST:
                raise ValueError(
                    f'--level: people in front of camera {camera} (setup {setup}) lean by '
                    f'{degrees:.0f} degrees on average, more than the {LARGEST:.0f} of a tilted '
                    'camera; turn the axes first, so that y is vertical'
                )
        self._rotations = {c: rotation(d, self.up) for c, d in self.directions().items()}

    def turn(self, annotation: dict) -> dict:
        """Return a sequence turned by the rotation of its camera; missing joints stay zero."""
        matrix = self._rotations.get(self._camera(annotation))
        if matrix is None:
            return annotation
        keypoint = annotation['keypoint'] @ matrix.T.astype(np.float32)
        return dict(annotation, keypoint=keypoint)

    def sentence(self) -> str:
        """Return a sentence on the angles; empty if there is nothing to say."""
        angles = self.angles().values()
        if not angles:
            return ''
        count = f'{len(angles)} cameras' if len(angles) > 1 else 'the camera'
        span = ' to '.join(dict.fromkeys(f'{a:.1f}' for a in (min(angles), max(angles))))
        if self._rotations is not None:
            left = len(self.trunks) - len(angles)
            rest = f'; {left} with fewer than {FEWEST} recordings were left as they are'
            return f'what {count} saw was turned upright, by {span} degrees{rest if left else ""}'
        if not NOTICEABLE <= max(angles) <= LARGEST:
            return ''
        return (
            f'people in front of {count} lean by {span} degrees on average, as if the view were '
            'tilted; --level turns it upright'
        )
