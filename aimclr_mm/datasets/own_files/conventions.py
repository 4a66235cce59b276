"""Unit and axes of own recordings in three coordinates: meters, and y as the vertical.

Encoders are trained on meters. Centimeters and millimeters look the same to every check of shapes,
so people of an impossible size are asked about.
"""

from __future__ import annotations

import numpy as np

from aimclr_mm.skeletons import Y_DOWN, Layout

UNITS = dict(m=1.0, cm=0.01, mm=0.001)  # meters
LARGEST = 10.0  # meters that a person may extend
BROKEN = 1e6  # extent in no unit at all
TURNS = {  # axis that points up -> how to turn recordings
    '-y': 'negate y and z',
    '+y': 'negate y and z',
    '+z': 'put z in the place of y, and -y in that of z',
    '-z': 'put -z in the place of y, and y in that of z',
    '+x': 'put x in the place of y, and -y in that of x',
    '-x': 'put -x in the place of y, and y in that of x',
}
UPPER = ('head', 'nose', 'neck')
LOWER = ('ankle', 'foot', 'knee', 'hip')


def to_meters(annotation: dict, layout: Layout, unit: str | None) -> dict:
    """Return a recording in meters, marked as such (``unit``) if it was converted.

    Args:
        annotation: ``keypoint`` (M, T, V, C), zeros or NaN for missing joints.
        layout: its joint layout; 2-D poses are left as they are.
        unit: unit of the coordinates, of :data:`UNITS`; None if it is not known.

    Raises:
        ValueError: if the unit is unknown, and people are larger than :data:`LARGEST`.
    """
    if unit is not None and unit not in UNITS:
        raise ValueError(f'unit={unit!r}; choose from {", ".join(map(repr, UNITS))}')
    if layout.dims != 3 or annotation.get('unit') == 'm' or unit == 'm':
        return annotation
    if unit is not None:
        keypoint = annotation['keypoint'] * np.float32(UNITS[unit])
        return {**annotation, 'keypoint': keypoint, 'unit': 'm'}

    size = person_size(annotation['keypoint'])
    if not LARGEST < size <= BROKEN:
        return annotation  # in meters, or refused for its coordinates
    likely = 'cm' if size < 100 * LARGEST / 2 else 'mm'
    raise ValueError(
        f'has a person who extends {size:.4g}, which cannot be meters; give the unit of the '
        f'recordings, probably {likely} (--unit {likely}, in Python unit={likely!r}), or m to use '
        'them as they are'
    )


def person_size(keypoint: np.ndarray) -> float:
    """Return the median extent, along the longest axis, of the people in all frames.

    Args:
        keypoint: (M, T, V, C), zeros or NaN for missing joints; C coordinates.
    """
    points = np.where(keypoint.any(axis=-1, keepdims=True), keypoint, np.nan)
    poses = points[(~np.isnan(points).any(axis=3)).sum(axis=2) > 1]  # (P, V, C)
    if not len(poses):
        return 0.0
    return float(np.median((np.nanmax(poses, axis=1) - np.nanmin(poses, axis=1)).max(axis=1)))


def odd_vertical(keypoint: np.ndarray, layout: Layout) -> str:
    """Return the axis along which heads are above feet, such as ``-y``; empty if it is as usual.

    Usual is ``+y``, and ``-y`` for the layouts of :data:`~aimclr_mm.skeletons.Y_DOWN`.

    Args:
        keypoint: (M, T, V, 3), zeros for missing joints.
        layout: joint layout; without head or legs the axis is not known.
    """
    upper = next((name for name in UPPER if name in layout.joints), None)
    lower = next((part for part in LOWER if f'left_{part}' in layout.joints), None)
    if layout.dims != 3 or upper is None or lower is None:
        return ''

    names = upper, f'left_{lower}', f'right_{lower}'
    head, *feet = (keypoint[:, :, layout.index(name), :3] for name in names)  # (M, T, 3)
    seen = head.any(axis=2) & feet[0].any(axis=2) & feet[1].any(axis=2)  # (M, T)
    if not seen.any():
        return ''
    line = np.median((head - (feet[0] + feet[1]) / 2)[seen], axis=0)
    *others, largest = sorted(np.abs(line))
    if largest <= 2 * others[-1]:  # somebody who leans, or no person at all
        return ''
    axis = int(np.abs(line).argmax())
    found = f'{"+" if line[axis] > 0 else "-"}{"xyz"[axis]}'
    return '' if found == ('-y' if layout.name in Y_DOWN else '+y') else found
