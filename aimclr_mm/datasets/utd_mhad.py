"""UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): reads the authors' skeleton archive.

The archive holds ``aA_sS_tT_skeleton.mat`` (action A of 27, subject S of 8, trial T of 4), each with a variable
``d_skel`` of shape (20, 3, T): Kinect v1 joints in metres. Subjects with odd numbers are the training split of the
authors' cross-subject protocol.
"""
from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterator

import numpy as np
from rich.progress import track
from scipy.io import loadmat

from aimclr_mm.skeletons import KINECT20

# order of the joints in the authors' files (Skeleton_joint_order.txt in the archive)
_LIMBS = (('shoulder', 'elbow', 'wrist', 'hand'), ('hip', 'knee', 'ankle', 'foot'))
_FILE_JOINTS = ('head', 'shoulder_center', 'spine', 'hip_center',
                *(f'{side}_{joint}' for limb in _LIMBS for side in ('left', 'right') for joint in limb))
_NAME = re.compile(r'a(\d+)_s(\d+)_t(\d+)_skeleton\.mat$')


def _files(source: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the skeleton files of a zip archive or a folder, sorted by name."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in sorted(n for n in archive.namelist() if _NAME.search(n)):
                yield name, archive.read(name)
    elif os.path.isdir(source):
        for folder, _, names in sorted(os.walk(source)):
            for name in sorted(n for n in names if _NAME.search(n)):
                with open(os.path.join(folder, name), 'rb') as file:
                    yield name, file.read()
    else:
        raise FileNotFoundError(f'{source!r} is neither a folder nor a zip archive')


def read_skeleton(content: bytes, name: str) -> np.ndarray:
    """Keypoints (1, T, 20, 3) float32 in the order of the layout table.

    Raises:
        ValueError: if the file is damaged or holds something else.
    """
    try:
        skeleton = loadmat(io.BytesIO(content), variable_names=['d_skel'])['d_skel']
    except Exception as error:      # noqa: BLE001  scipy raises many kinds for damaged files
        raise ValueError(f'{name}: no readable .mat file with d_skel ({error})') from error
    shape = np.shape(skeleton)
    if len(shape) != 3 or shape[:2] != (KINECT20.num_joints, 3) or shape[2] == 0:
        raise ValueError(f'{name}: d_skel has shape {shape}; it must be (20, 3, frames)')
    keypoint = np.asarray(skeleton, dtype=np.float32).transpose(2, 0, 1)                   # (T, 20, 3)
    if not np.isfinite(keypoint).all():
        raise ValueError(f'{name}: d_skel holds values that are not finite')
    return np.ascontiguousarray(keypoint[None, :, [_FILE_JOINTS.index(joint) for joint in KINECT20.joints]])


def read_utd_mhad(source: str) -> dict:
    """The data set in mmaction2's pose format, with splits ``xsub_train`` and ``xsub_val``.

    Args:
        source: the authors' zip archive or the folder of its files.

    Raises:
        ValueError: if there is no skeleton file in the source, or one is broken.
    """
    annotations, splits = [], dict(xsub_train=[], xsub_val=[])
    for path, content in track(list(_files(source)), 'Reading UTD-MHAD'):
        action, subject, trial = map(int, _NAME.search(path).groups())
        name = f'a{action:02d}_s{subject:02d}_t{trial:02d}'
        keypoint = read_skeleton(content, path)
        annotations.append(dict(frame_dir=name, label=action - 1, keypoint=keypoint, total_frames=keypoint.shape[1]))
        splits['xsub_train' if subject % 2 else 'xsub_val'].append(name)
    if not annotations:
        raise ValueError(f'{source!r} holds no file named like a1_s1_t1_skeleton.mat')
    return dict(split=splits, annotations=annotations)
