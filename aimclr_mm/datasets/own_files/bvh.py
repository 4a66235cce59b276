"""Motion capture in Biovision's BVH format, parsed by bvhio.

The joints of a layout are found by their names. A file names them as the layout does, or as
MotionBuilder, Mixamo, LaFAN1 and the BVH edition of CMU's data base (``LeftArm``, ``LeftForeArm``,
``LeftHand``) or as Biovision itself (``LeftShoulder``, ``LeftElbow``, ``LeftWrist``); layout
``mocap21`` has the joints that all of these have.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from aimclr_mm.datasets.readers.sources import RecordingError
from aimclr_mm.datasets.readers.text import MAX_CELLS, is_number
from aimclr_mm.skeletons import Layout
from aimclr_mm.skeletons.layouts import MAX_JOINTS

from .shapes import MAX_FRAMES, check_size

if TYPE_CHECKING:
    from bvhio import BvhJoint
    from scipy.spatial.transform import Rotation

MAX_DEPTH = 100  # joints within each other
MAX_POSES = 100_000  # joints times frames that bvhio parses at once; it takes 700 bytes for each
END = 'end of file'  # bvhio waits for further lines forever

# joint -> names in files without separators, the first that is there counts
_MOTION_BUILDER: dict[str, tuple[str, ...]] = dict(
    hip_center=('hips',),
    spine=('spine',),
    spine_chest=('spine2', 'spine1', 'spine'),
    neck=('neck',),
    head=('head',),
    clavicle=('shoulder',),
    shoulder=('arm',),
    elbow=('forearm',),
    wrist=('hand',),
    hip=('upleg',),
    knee=('leg',),
    ankle=('foot',),
    foot=('toebase', 'toe'),
)
_BIOVISION: dict[str, tuple[str, ...]] = dict(
    hip_center=('hips',),
    spine=('chest',),
    spine_chest=('chest4', 'chest3', 'chest2', 'chest'),
    neck=('neck',),
    head=('head',),
    clavicle=('collar',),
    shoulder=('shoulder',),
    elbow=('elbow',),
    wrist=('wrist',),
    hip=('hip',),
    knee=('knee',),
    ankle=('ankle',),
    foot=('toe', 'toebase', 'foot'),
)


def read_bvh(content: bytes, layout: Layout) -> dict[str, Any]:
    """Read the positions of a layout's joints in a BVH file.

    Args:
        content: the file.
        layout: joint layout, of three coordinates.

    Returns:
        ``keypoint`` (1, T, V, 3) float64 in the unit of the file. The end of a chain is a joint
        that is named like the last one with ``_end``.

    Raises:
        RecordingError: if the file is damaged, or lacks a joint of the layout.
        ImportError: if bvhio is not installed.
    """
    if layout.dims != 3:
        raise RecordingError(
            f'has three coordinates; layout {layout.name} has {layout.dims}. Give the layout '
            'mocap21, or one of your own with the names in the file'
        )
    from scipy.spatial.transform import Rotation  # here: a slow import

    hierarchy, lines = _split(content.decode('utf-8-sig', errors='replace').rstrip())
    step = max(1, MAX_POSES // hierarchy.count('{'))
    parts = []
    for start in range(0, len(lines), step):
        root = _parse(hierarchy, lines[start : start + step])
        positions = dict(_positions(root, Rotation.identity(), np.zeros(3)))
        names = _find_joints(layout, list(positions))
        parts.append(np.stack([positions[name] for name in names], axis=1))
    return dict(keypoint=np.concatenate(parts)[None])


def _parse(hierarchy: str, lines: list[str]) -> BvhJoint:
    """Return the root of the joints, with the motion of some frames."""
    try:
        import bvhio
    except ImportError as error:
        raise ImportError(
            "BVH files need bvhio: pip install 'aimclr_mm[bvh]' or pip install bvhio"
        ) from error

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'motion.bvh')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f'{hierarchy}MOTION\nFrames: {len(lines)}\nFrame Time: 1\n')
            file.writelines(f'{line}\n' for line in [*lines, END])
        try:
            return bvhio.readAsBvh(path).Root
        except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
            reason = error.args[0] if error.args else type(error).__name__
            raise RecordingError(f'is not a readable BVH file ({reason})') from error


def _split(text: str) -> tuple[str, list[str]]:
    """Return the hierarchy of joints and the lines of the frames.

    Raises:
        RecordingError: if the motion has not the stated number of frames and values.
    """
    hierarchy, motion, rest = text.partition('MOTION')
    frames = re.match(r'\s*Frames:\s*(\d{1,9})\s+Frame Time:\s*\S+\s*', rest)
    if not motion or not frames:
        raise RecordingError('is not a BVH file: it has no MOTION with Frames and Frame Time')

    joints = hierarchy.count('{')
    if not 0 < joints <= 2 * MAX_JOINTS:
        raise RecordingError(f'has {joints} joints and ends; the limit is {2 * MAX_JOINTS}')
    marks = re.findall('[{}]', hierarchy)
    depth = max(np.cumsum([1 if mark == '{' else -1 for mark in marks]))
    if depth > MAX_DEPTH:
        raise RecordingError(f'has {depth} joints within each other; the limit is {MAX_DEPTH}')

    lines = rest[frames.end() :].split('\n')
    lines = [line for line in lines if line.strip()]
    stated = int(frames[1])
    if stated != len(lines) or not 0 < stated <= MAX_FRAMES:
        raise RecordingError(
            f'states {stated} frames and has {len(lines)}; 1 to {MAX_FRAMES} are read'
        )
    channels = sum(map(int, re.findall(r'CHANNELS\s+(\d{1,2})\b', hierarchy)))
    check_size(1, stated, max(channels, 3 * joints) * stated, MAX_CELLS)
    for number, line in enumerate(lines, 1):
        values = line.split()
        if len(values) != channels:
            raise RecordingError(
                f'frame {number} (counted from 1) has {len(values)} values; the joints have '
                f'{channels} channels'
            )
        wrong = [v for v in values if not is_number(v) or not math.isfinite(float(v))]
        if wrong:
            raise RecordingError(f'frame {number} (counted from 1) has the value {wrong[0][:40]!r}')
    return hierarchy, lines


def _positions(
    joint: BvhJoint, parent: Rotation, origin: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and positions (T, 3) of a joint and of those that are attached to it.

    Args:
        joint: the joint; positions and rotations of its frames are relative to its parent.
        parent: rotations of the parent in space, one or T.
        origin: positions of the parent in space, (3,) or (T, 3).
    """
    moves = np.array([tuple(pose.Position) for pose in joint.Keyframes], dtype=np.float64)
    turns = [(q.x, q.y, q.z, q.w) for q in (pose.Rotation for pose in joint.Keyframes)]
    position = origin + parent.apply(moves)
    rotation = parent * parent.from_quat(turns)
    yield joint.Name, position

    if not joint.Children:
        end = np.array(tuple(joint.EndSite), dtype=np.float64)
        yield f'{joint.Name}_end', position + rotation.apply(end)
    for child in joint.Children:
        yield from _positions(child, rotation, position)


def _find_joints(layout: Layout, names: list[str]) -> list[str]:
    """Return the name in the file of each joint of a layout."""
    if set(layout.joints) <= set(names):
        return list(layout.joints)

    plain = {re.sub('[^a-z0-9]', '', name.split(':')[-1].lower()): name for name in names}
    table = _MOTION_BUILDER if 'leftarm' in plain else _BIOVISION
    found = [_find_joint(joint, plain, table) for joint in layout.joints]
    missing = [joint for joint, name in zip(layout.joints, found) if name is None]
    if missing:
        raise RecordingError(
            f'has no joint for {", ".join(missing[:5])} of layout {layout.name}; it has '
            f'{", ".join(names)[:400]}. Give the layout mocap21 and --map-to for another one, or a '
            'layout of your own with these names'
        )
    return found


def _find_joint(
    joint: str, plain: Mapping[str, str], table: Mapping[str, tuple[str, ...]]
) -> str | None:
    side, _, part = joint.partition('_')
    if side not in ('left', 'right'):
        side, part = '', joint
    return next((plain[side + name] for name in table.get(part, ()) if side + name in plain), None)
