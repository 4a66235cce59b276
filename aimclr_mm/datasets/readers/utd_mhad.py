"""UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): the skeleton archive of the authors.

The archive holds ``aA_sS_tT_skeleton.mat`` (action A of 27, subject S of 8, trial T of 4), each
with a variable ``d_skel`` of shape (20, 3, T): Kinect v1 joints in meters. In the cross-subject
protocol of the authors subjects with odd numbers train.
"""

from __future__ import annotations

import io
import math
import re

import numpy as np

from aimclr_mm.skeletons import KINECT20

from .base import Reader, cross_subject, joint_order, make_annotation, match_name
from .sources import RecordingError, SourceFile

VARIABLE = 'd_skel'
NUMERIC = {
    'double',
    'single',
    *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
}
MAX_VALUES = 1_000_000
# bytes; the longest recording has 60 kB, and compressed variables may grow a thousandfold
MAX_FILE = 2**19

_NAME = re.compile(r'^a(\d+)_s(\d+)_t(\d+)_skeleton$')

# order of the joints in the files (Skeleton_joint_order.txt in the archive)
_LIMBS = (('shoulder', 'elbow', 'wrist', 'hand'), ('hip', 'knee', 'ankle', 'foot'))
_FILE_JOINTS = (
    'head',
    'shoulder_center',
    'spine',
    'hip_center',
    *(f'{side}_{joint}' for limb in _LIMBS for side in ('left', 'right') for joint in limb),
)
_ORDER = joint_order(_FILE_JOINTS, KINECT20)


def read_skeleton(content: bytes) -> np.ndarray:
    """Read the joints of a file.

    Returns:
        (1, T, 20, 3) float32 in meters, in the joint order of the layout table.

    Raises:
        RecordingError: if the file is damaged or holds something else.
    """
    try:
        skeleton = _load_variable(content)
    except Exception as error:  # noqa: BLE001  scipy raises errors of many kinds
        raise RecordingError(f'is not a readable .mat file with {VARIABLE} ({error})') from error

    shape = np.shape(skeleton)
    is_skeleton = len(shape) == 3 and shape[:2] == (KINECT20.num_joints, 3) and shape[2] > 0
    if not is_skeleton or skeleton.dtype.kind not in 'fiu':
        raise RecordingError(f'{VARIABLE} has shape {shape}; it must be numbers (20, 3, frames)')

    with np.errstate(over='ignore'):  # values beyond float32 become inf, which is reported later
        keypoint = np.asarray(skeleton, dtype=np.float32).transpose(2, 0, 1)  # (T, 20, 3)
    return np.ascontiguousarray(keypoint[None, :, _ORDER])


def _load_variable(content: bytes) -> np.ndarray:
    """Load ``d_skel``; nested cells, which can exhaust the stack, are refused before loading."""
    from scipy.io import loadmat, whosmat  # here: a slow import

    for name, shape, kind in whosmat(io.BytesIO(content)):
        if name == VARIABLE and (kind not in NUMERIC or math.prod(shape) > MAX_VALUES):
            raise ValueError(
                f'{VARIABLE} is a {kind} of shape {shape}; at most {MAX_VALUES} numbers are read'
            )
    return loadmat(io.BytesIO(content), variable_names=[VARIABLE])[VARIABLE]


class UTDMHAD(Reader):
    """UTD-MHAD: 861 recordings of 27 actions by 8 subjects."""

    name = 'utd_mhad'
    layout = 'kinect20'
    pattern = '*_skeleton.mat'
    num_classes = 27
    published = dict(xsub_train=431, xsub_val=430)

    def read(self, recording: SourceFile) -> list[dict]:
        """Read one sequence; action and subject are in its name."""
        numbers = match_name(recording.stem, _NAME, 'a1_s1_t1_skeleton.mat').groups()
        action, subject, trial = map(int, numbers)
        label = self.label(action)

        keypoint = read_skeleton(recording.read(MAX_FILE))
        name = f'a{action:02d}_s{subject:02d}_t{trial:02d}'
        return [make_annotation(name, keypoint, label=label, subject=subject)]

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject split: odd subjects train."""
        return [cross_subject(annotation['subject'])]
