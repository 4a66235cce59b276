"""MSR Action3D (Li, Zhang, Liu, CVPR Workshops 2010): both forms of the skeleton files.

``a01_s02_e03_skeleton3D.txt`` (action 1 of 20, subject 2 of 10, trial 3; archive
``MSRAction3DSkeletonReal3D``) holds real-world coordinates, ``a01_s02_e03_skeleton.txt`` (archive
``MSRAction3DSkeleton(20joints)``) the same skeletons in the depth image of 320 x 240 pixels. Both
are text without a header: a line ``x y z confidence`` for each of the 20 joints of a frame, frame
after frame. Frames without a tracked person are zeros and are kept. The 10 recordings that part of
the literature leaves out are also kept; one of them (``a13_s09_e02``) contains only zeros.

The joint order is that of the files. The authors' ``drawskt.m`` shows which joints are connected;
the left side follows from the data, as the subjects were asked to use the right arm or leg: in all
recordings of the one-armed actions 1 to 9 joint 13 moves more than joint 12, and in all side kicks
joint 19 more than joint 18 (1-based).
"""

from __future__ import annotations

import re

import numpy as np

from aimclr_mm.skeletons import KINECT20

from .base import Reader, cross_subject, joint_order, make_annotation, match_name
from .sources import RecordingError, SourceFile
from .text import fits_float32, number_table, parse_text

JOINTS = KINECT20.num_joints
VALUES = 4  # in a line
MAX_FILE = 16 * 2**20  # bytes
NAME = re.compile(r'^a(\d\d)_s(\d\d)_e(\d\d)_skeleton(3D)?$')

_PAIRS = ('elbow', 'wrist', 'hand', 'knee', 'ankle', 'foot')
_FILE_JOINTS = (
    'left_shoulder',
    'right_shoulder',
    'shoulder_center',
    'spine',
    'left_hip',
    'right_hip',
    'hip_center',
    *(f'{side}_{joint}' for joint in _PAIRS for side in ('left', 'right')),
    'head',
)
_ORDER = joint_order(_FILE_JOINTS, KINECT20)

# actions of the three subsets of the authors (Table 1)
SUBSETS = dict(
    as1=frozenset((2, 3, 5, 6, 10, 13, 18, 20)),
    as2=frozenset((1, 4, 7, 8, 9, 11, 12, 14)),
    as3=frozenset((6, *range(14, 21))),
)

# Depth image: focal length and center in pixels, depth in steps of 4 mm (250 per meter). The values
# are a fit of the two forms of the files to each other, which then differ by less than 7 mm.
FOCAL = 285.63
CENTER = (160, 120)
STEPS = 250
MAX_PIXEL = 10_000


def _to_meters(joints: np.ndarray) -> np.ndarray:
    """Convert joints in the depth image (lines, 3) to real-world coordinates."""
    outside = np.flatnonzero((joints < 0).any(axis=1) | (joints[:, :2] > MAX_PIXEL).any(axis=1))
    if len(outside):
        x, y, z = joints[outside[0]]
        raise RecordingError(
            f'line {outside[0] + 1}: the joint lies at {x:.0f}, {y:.0f}, {z:.0f}, outside of the '
            'image; use the real-world coordinates of MSRAction3DSkeletonReal3D, which are complete'
        )

    z = joints[:, 2] / STEPS
    x = (joints[:, 0] - CENTER[0]) * z / FOCAL
    y = (CENTER[1] - joints[:, 1]) * z / FOCAL
    return np.stack([x, y, z], axis=1)


def _parse(text: bytes) -> np.ndarray:
    """Parse the lines of a file, (lines, 4)."""
    table = number_table(text, VALUES)
    broken = np.flatnonzero(~fits_float32(table))
    if len(broken):
        raise RecordingError(f'line {broken[0] + 1}: a joint needs {VALUES} finite numbers')
    return table


def read_skeleton(content: bytes, screen: bool = False) -> np.ndarray:
    """Read the joints of a file.

    Args:
        content: the file.
        screen: whether the coordinates are those of the depth image.

    Returns:
        (1, T, 20, 3) float32 in meters, x to the right of the image, y up, z away from the camera,
        in the joint order of the layout table.

    Raises:
        RecordingError: if the file is damaged; the message names the line.
    """
    table = parse_text(content.rstrip(), _parse)
    if not len(table):
        raise RecordingError('is empty')
    if len(table) % JOINTS:
        raise RecordingError(
            f'line {len(table)}: the file ends after {len(table) % JOINTS} of {JOINTS} joints of '
            f'frame {len(table) // JOINTS + 1}; it is truncated'
        )

    joints = table[:, :3]
    if screen:
        joints = _to_meters(joints)
    keypoint = joints.reshape(1, -1, JOINTS, 3)[:, :, _ORDER]
    return np.ascontiguousarray(keypoint, dtype=np.float32)


class MSRAction3D(Reader):
    """MSR Action3D: 567 recordings of 20 actions by 10 subjects, 20 Kinect joints in meters.

    There are cross-subject splits of all actions and of the three subsets of the authors, all with
    the labels of the 20 actions. ``published`` counts the 567 files of the download.
    """

    name = 'msr_action3d'
    layout = 'kinect20'
    pattern = '*_skeleton*.txt'
    num_classes = 20
    published = dict(
        xsub_train=292,
        xsub_val=275,
        as1_xsub_train=120,
        as1_xsub_val=106,
        as2_xsub_train=118,
        as2_xsub_val=113,
        as3_xsub_train=114,
        as3_xsub_val=112,
    )

    def recordings(self) -> list[SourceFile]:
        """Return one file per sequence: image coordinates only where the others are missing."""
        real = {file.stem.removesuffix('3D') for file in self.files if file.stem.endswith('3D')}
        kept = []
        for file in self.files:
            if file.stem in real:
                self.leave_out('image coordinates of sequences with real-world ones', file.stem)
            else:
                kept.append(file)
        return kept

    def read(self, recording: SourceFile) -> list[dict]:
        """Read one sequence; action and subject are in its name."""
        numbers = match_name(recording.stem, NAME, 'a01_s01_e01_skeleton3D.txt')
        action, subject = int(numbers[1]), int(numbers[2])
        label = self.label(action)

        keypoint = read_skeleton(recording.read(MAX_FILE), screen=not numbers[4])
        name = recording.stem.partition('_skeleton')[0]
        return [make_annotation(name, keypoint, label=label, subject=subject)]

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject splits of all actions and of each subset: odd subjects train."""
        split = cross_subject(annotation['subject'])
        action = annotation['label'] + 1
        subsets = [name for name, actions in SUBSETS.items() if action in actions]
        return [split, *(f'{name}_{split}' for name in subsets)]
