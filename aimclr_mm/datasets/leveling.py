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
SIDES = ('left', 'right')


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


def trunk_direction(keypoint: np.ndarray, layout: Layout) -> np.ndarray | None:
    """Return the median direction (3,) from the hips to the shoulders.

    Args:
        keypoint: (M, T, V, 3), zeros for missing joints.
        layout: joint layout.

    Returns:
        None if the layout has no trunk (:func:`has_trunk`), or hips and shoulders are never seen.
    """
    if not has_trunk(layout):
        return None
    hips, shoulders = (
        keypoint[:, :, [layout.index(f'{side}_{part}') for side in SIDES]]
        for part in ('hip', 'shoulder')
    )  # (M, T, 2, 3) each
    seen = (hips.any(axis=3) & shoulders.any(axis=3)).all(axis=2)  # (M, T)
    lines = (shoulders.mean(axis=2) - hips.mean(axis=2))[seen]  # (P, 3)
    lengths = np.linalg.norm(lines, axis=1, keepdims=True)
    lines = (lines / np.where(lengths > 0, lengths, 1))[lengths[:, 0] > 0]
    return np.median(lines, axis=0) if len(lines) else None


def rotation(direction: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the smallest rotation (3, 3) that takes a unit vector to another one (Rodrigues)."""
    x, y, z = np.cross(direction, up)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + direction @ up)


class Cameras:
    """How people stand in front of each camera.

    A camera is a pair of the fields ``setup`` and ``camera`` of annotations; sequences without them
    are taken for those of one camera.

    Args:
        layout: joint layout of the annotations.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.up = np.array([0.0, -1.0 if layout.name in Y_DOWN else 1.0, 0.0])
        self._trunks: dict[tuple[Any, Any], list[np.ndarray]] = {}

    @staticmethod
    def _camera(annotation: Mapping) -> tuple[Any, Any]:
        return annotation.get('setup'), annotation.get('camera')

    def add(self, annotation: Mapping, direction: np.ndarray | None) -> None:
        """Count a sequence, given the direction of its trunk."""
        if direction is not None:
            self._trunks.setdefault(self._camera(annotation), []).append(direction)

    def directions(self) -> dict[tuple[Any, Any], np.ndarray]:
        """Return the unit direction (3,) of the median trunk of each camera."""
        medians = {camera: np.median(found, axis=0) for camera, found in self._trunks.items()}
        return {camera: median / np.linalg.norm(median) for camera, median in medians.items()}

    def angles(self) -> list[float]:
        """Return by how many degrees the median trunk of each camera leans."""
        cosines = [np.clip(direction @ self.up, -1, 1) for direction in self.directions().values()]
        return [float(np.degrees(np.arccos(cosine))) for cosine in cosines]

    def rotations(self) -> dict[tuple[Any, Any], np.ndarray]:
        """Return the rotation (3, 3) that turns the median trunk of each camera upright.

        Raises:
            ValueError: if one leans by more than :data:`LARGEST`.
        """
        if max(self.angles(), default=0) > LARGEST:
            raise ValueError(
                f'--level: people lean by {max(self.angles()):.0f} degrees on average, more than '
                f'the {LARGEST:.0f} of a tilted camera; turn the axes first, so that y is vertical'
            )
        return {camera: rotation(d, self.up) for camera, d in self.directions().items()}

    def turn(self, annotation: dict, rotations: Mapping[tuple[Any, Any], np.ndarray]) -> dict:
        """Return a sequence turned by the rotation of its camera; missing joints stay zero."""
        matrix = rotations.get(self._camera(annotation))
        if matrix is None:  # no trunk was seen
            return annotation
        keypoint = annotation['keypoint'] @ matrix.T.astype(np.float32)
        return dict(annotation, keypoint=keypoint)

    def sentence(self, leveled: bool) -> str:
        """Return a sentence on the angles; empty if there is nothing to say."""
        angles = self.angles()
        if not angles:
            return ''
        count = f'{len(angles)} cameras' if len(angles) > 1 else 'the camera'
        span = ' to '.join(f'{a:.1f}' for a in dict.fromkeys([min(angles), max(angles)]))
        if leveled:
            return f'what {count} saw was turned upright, by {span} degrees'
        if max(angles) < NOTICEABLE:
            return ''
        return (
            f'people in front of {count} lean by {span} degrees on average, as if tilted; --level '
            'turns them upright'
        )
