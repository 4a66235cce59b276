"""UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): reads the authors' skeleton archive.

The archive holds ``aA_sS_tT_skeleton.mat`` (action A of 27, subject S of 8, trial T of 4), each with a variable
``d_skel`` of shape (20, 3, T): Kinect v1 joints in metres. Subjects with odd numbers are the training split of the
authors' cross-subject protocol.
"""

from __future__ import annotations

import io
import math
import re

import numpy as np
from scipy.io import loadmat, whosmat

from aimclr_mm.skeletons import KINECT20

from .base import Reader, match_name
from .sources import RecordingError, SourceFile

# order of the joints in the authors' files (Skeleton_joint_order.txt in the archive)
_LIMBS = (('shoulder', 'elbow', 'wrist', 'hand'), ('hip', 'knee', 'ankle', 'foot'))
_FILE_JOINTS = (
    'head',
    'shoulder_center',
    'spine',
    'hip_center',
    *(f'{side}_{joint}' for limb in _LIMBS for side in ('left', 'right') for joint in limb),
)
_NAME = re.compile(r'^a(\d+)_s(\d+)_t(\d+)_skeleton$')
_NUMBERS = {
    'double',
    'single',
    *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
}
_MAX_VALUES = 1_000_000
_MAX_FILE = (
    2**19
)  # bytes; the longest recording has 60 kB, and compressed ones may grow a thousandfold


def read_skeleton(content: bytes) -> np.ndarray:
    """Keypoints (1, T, 20, 3) float32 in the order of the layout table.

    Raises:
        RecordingError: if the file is damaged or holds something else.
    """
    try:
        for name, shape, kind in whosmat(io.BytesIO(content)):
            if name == 'd_skel' and (kind not in _NUMBERS or math.prod(shape) > _MAX_VALUES):
                # cells may be nested deeper than the stack is
                raise ValueError(
                    f'd_skel is a {kind} of shape {shape}; at most {_MAX_VALUES} numbers are read'
                )
        skeleton = loadmat(io.BytesIO(content), variable_names=['d_skel'])['d_skel']
    except Exception as error:  # noqa: BLE001  scipy raises many kinds for damaged files
        raise RecordingError(f'is no readable .mat file with d_skel ({error})') from error
    shape = np.shape(skeleton)
    if (
        len(shape) != 3
        or shape[:2] != (KINECT20.num_joints, 3)
        or shape[2] == 0
        or skeleton.dtype.kind not in 'fiu'
    ):
        raise RecordingError(f'd_skel has shape {shape}; it must be numbers (20, 3, frames)')
    with np.errstate(over='ignore'):  # what is too large becomes infinite, and is reported as such
        keypoint = np.asarray(skeleton, dtype=np.float32).transpose(2, 0, 1)  # (T, 20, 3)
    return np.ascontiguousarray(
        keypoint[None, :, [_FILE_JOINTS.index(joint) for joint in KINECT20.joints]]
    )


class UTDMHAD(Reader):
    """UTD-MHAD: 861 recordings of 27 actions by 8 subjects."""

    name, layout, pattern, num_classes = 'utd_mhad', 'kinect20', '*_skeleton.mat', 27
    published = dict(xsub_train=431, xsub_val=430)

    def read(self, recording: SourceFile) -> list[dict]:
        """One sequence; its name says the rest."""
        numbers = match_name(recording.stem, _NAME, 'a1_s1_t1_skeleton.mat').groups()
        action, subject, trial = map(int, numbers)
        label = self.label(action)
        keypoint = read_skeleton(recording.read(_MAX_FILE))
        return [
            dict(
                frame_dir=f'a{action:02d}_s{subject:02d}_t{trial:02d}',
                label=label,
                keypoint=keypoint,
                total_frames=keypoint.shape[1],
                subject=subject,
            )
        ]

    def splits(self, annotation: dict) -> list[str]:
        """Cross-subject: odd subjects train."""
        return ['xsub_train' if annotation['subject'] % 2 else 'xsub_val']
