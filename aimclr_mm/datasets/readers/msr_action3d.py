"""MSR Action3D (Li, Zhang, Liu, CVPR Workshops 2010): the authors' skeleton files, in either of their two forms.

``a01_s02_e03_skeleton3D.txt`` (action 1 of 20, subject 2 of 10, trial 3; archive ``MSRAction3DSkeletonReal3D``) holds
real-world coordinates, ``a01_s02_e03_skeleton.txt`` (archive ``MSRAction3DSkeleton(20joints)``) the same skeletons in
the depth picture of 320 x 240 pixels. Both are text without a header: a line ``x y z confidence`` for each of the 20
joints of a frame, frame after frame. Frames in which nobody was tracked are zeros and stay zeros, also the 10
recordings that part of the field leaves out, of which one (``a13_s09_e02``) is nothing but zeros.

The joints have an order of their own. The authors' ``drawskt.m`` tells which are connected; which side is left follows
from the data, as the subjects were asked to use the right arm or leg: in all recordings of the one-armed actions 1 to
9 joint 13 moves more than joint 12, and in all side kicks joint 19 more than joint 18 (counted from 1).
"""

from __future__ import annotations

import re

import numpy as np

from aimclr_mm.skeletons import KINECT20

from .base import Reader, match_name
from .sources import RecordingError, SourceFile
from .text import fits_float32, number_table, parse_text

JOINTS, VALUES = KINECT20.num_joints, 4
MAX_FILE = 16 * 2**20
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
_ORDER = [_FILE_JOINTS.index(joint) for joint in KINECT20.joints]

# the three subsets of the authors' Table 1
SUBSETS = dict(
    as1=frozenset((2, 3, 5, 6, 10, 13, 18, 20)),
    as2=frozenset((1, 4, 7, 8, 9, 11, 12, 14)),
    as3=frozenset((6, *range(14, 21))),
)

# The depth picture: focal length and centre in pixels, depth in steps of 4 mm. A fit of the two forms of the authors'
# files to each other gives these numbers; they then differ by less than 7 mm.
FOCAL, CENTER, STEPS = 285.63, (160, 120), 250
MAX_PIXEL = 10_000


def _metres(joints: np.ndarray) -> np.ndarray:
    """Joints in the depth picture (lines, 3) as real-world coordinates."""
    outside = np.flatnonzero((joints < 0).any(axis=1) | (joints[:, :2] > MAX_PIXEL).any(axis=1))
    if len(outside):
        x, y, z = joints[outside[0]]
        raise RecordingError(
            f'line {outside[0] + 1}: the joint lies at {x:.0f}, {y:.0f}, {z:.0f}, outside of the '
            'picture; the real-world coordinates of MSRAction3DSkeletonReal3D do not have this gap'
        )
    depth = joints[:, 2] / STEPS
    return np.stack(
        [
            (joints[:, 0] - CENTER[0]) * depth / FOCAL,
            (CENTER[1] - joints[:, 1]) * depth / FOCAL,
            depth,
        ],
        1,
    )


def read_skeleton(content: bytes, screen: bool = False) -> np.ndarray:
    """The joints of a file.

    Args:
        content: the file.
        screen: whether its coordinates are those of the depth picture.

    Returns:
        (1, T, 20, 3) float32 in metres, x to the right of the picture, y up, z away from the camera, in the order of
        the layout table.

    Raises:
        RecordingError: if the file is damaged; the message names the line.
    """

    def parse(text: bytes) -> np.ndarray:
        table = number_table(text, VALUES)
        broken = np.flatnonzero(~fits_float32(table))
        if len(broken):
            raise RecordingError(f'line {broken[0] + 1}: a joint needs {VALUES} finite numbers')
        return table

    table = parse_text(content.rstrip(), parse)
    if not len(table):
        raise RecordingError('is empty')
    if len(table) % JOINTS:
        raise RecordingError(
            f'line {len(table)}: the file ends after {len(table) % JOINTS} of {JOINTS} joints of '
            f'frame {len(table) // JOINTS + 1}; it is truncated'
        )
    joints = table[:, :3]
    if screen:
        joints = _metres(joints)
    return np.ascontiguousarray(joints.reshape(1, -1, JOINTS, 3)[:, :, _ORDER], dtype=np.float32)


class MSRAction3D(Reader):
    """MSR Action3D: 567 recordings of 20 actions by 10 subjects, Kinect's 20 joints in metres.

    Beside the cross-subject splits of all actions there are those of the authors' three subsets, in which labels are
    those of all 20 actions. ``published`` counts the 567 files that the authors distribute.
    """

    name, layout, pattern, num_classes = 'msr_action3d', 'kinect20', '*_skeleton*.txt', 20
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
        """Each sequence once: files in screen coordinates are used where the others are missing."""
        real = {file.stem.removesuffix('3D') for file in self.files if file.stem.endswith('3D')}
        kept = []
        for file in self.files:
            if file.stem in real:
                reason = 'screen coordinates of sequences whose real-world coordinates are there'
                self.leave_out(reason, file.stem)
            else:
                kept.append(file)
        return kept

    def read(self, recording: SourceFile) -> list[dict]:
        """One sequence; its name says everything but the coordinates."""
        numbers = match_name(recording.stem, NAME, 'a01_s01_e01_skeleton3D.txt')
        action, subject, _ = map(int, numbers.groups()[:3])
        label = self.label(action)
        keypoint = read_skeleton(recording.read(MAX_FILE), screen=not numbers[4])
        return [
            dict(
                frame_dir=recording.stem.partition('_skeleton')[0],
                label=label,
                keypoint=keypoint,
                total_frames=keypoint.shape[1],
                subject=subject,
            )
        ]

    def splits(self, annotation: dict) -> list[str]:
        """Cross-subject, odd subjects train: of all actions and of each subset."""
        part = 'xsub_train' if annotation['subject'] % 2 else 'xsub_val'
        subsets = [name for name, actions in SUBSETS.items() if annotation['label'] + 1 in actions]
        return [part, *(f'{name}_{part}' for name in subsets)]
