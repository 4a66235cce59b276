"""Made-up recordings as files, in the forms that people's own recordings have, to try things with."""

from __future__ import annotations

import json
import os

import numpy as np

from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.datasets.synthetic import ACTIONS
from aimclr_mm.skeletons import COCO17, NTU25
from aimclr_mm.utils.files import atomic_write

FORMS = ('kinect', 'mmpose')
FOCAL, WIDTH, HEIGHT = 1060.0, 1920, 1080  # pixels, of Kinect v2's colour camera
# joints of a face from the head, in units of its own frame: right of the person, up, ahead; metres
_FACE = dict(
    nose=(0, -0.02, 0.1),
    left_eye=(-0.03, 0.02, 0.08),
    right_eye=(0.03, 0.02, 0.08),
    left_ear=(-0.08, 0, 0),
    right_ear=(0.08, 0, 0),
)


def as_coco(keypoint: np.ndarray) -> np.ndarray:
    """A camera's view of a skeleton: the 17 joints that a pose estimator of COCO would give.

    Args:
        keypoint: (M, T, 25, 3) joints of NTU's layout, metres in the camera frame, z ahead, y up.

    Returns:
        (M, T, 17, 3): x to the right and y down in pixels of a 1920 x 1080 picture, and a score; zeros where a person
        is absent.
    """
    joints = dict(zip(NTU25.joints, np.moveaxis(keypoint, 2, 0)))  # (M, T, 3) each
    right = joints['right_shoulder'] - joints['left_shoulder']
    right = right / np.linalg.norm(right, axis=-1, keepdims=True).clip(1e-6)
    up = np.broadcast_to([0.0, 1.0, 0.0], right.shape)
    axes = np.stack([right, up, np.cross(right, up)], axis=-1)  # (M, T, 3, 3), axes as columns
    joints.update(
        {name: joints['head'] + axes @ np.array(offset) for name, offset in _FACE.items()}
    )
    x, y, z = np.moveaxis(np.stack([joints[name] for name in COCO17.joints], axis=2), -1, 0)
    z = z.clip(0.1)
    seen = np.stack(
        [WIDTH / 2 + FOCAL * x / z, HEIGHT / 2 - FOCAL * y / z, np.full_like(x, 0.9)], axis=-1
    )
    return np.where(keypoint.any(axis=(2, 3))[..., None, None], seen, 0.0)


def _mmpose(poses: np.ndarray) -> str:
    """Poses (M, T, 17, 3) as mmpose writes them for a video."""
    frames = [
        dict(
            frame_id=number,
            instances=[
                dict(
                    keypoints=person[:, :2].round(2).tolist(),
                    keypoint_scores=person[:, 2].round(3).tolist(),
                )
                for person in frame
                if person.any()
            ],
        )
        for number, frame in enumerate(poses.swapaxes(0, 1), 1)
    ]
    return json.dumps(dict(meta_info=dict(dataset_name='coco'), instance_info=frames))


def write_samples(
    folder: str,
    form: str = 'kinect',
    subjects: int = 10,
    cameras: int = 2,
    repetitions: int = 1,
    seed: int = 0,
) -> int:
    """Writes recordings to ``folder/<action>/<name>``, in which P and a number in the name tell the subject.

    Args:
        folder: to write to.
        form: ``kinect``: ``.npy`` (M, T, 25, 3) in metres; ``mmpose``: ``.json`` of 17 joints in pixels.
        subjects, cameras, repetitions, seed: see :class:`~aimclr_mm.datasets.readers.synthetic.Synthetic`.

    Returns:
        The number of files.

    Raises:
        ValueError: for an unknown form or a number out of range.
    """
    if form not in FORMS:
        raise ValueError(f'form={form!r}; known are {", ".join(FORMS)}')
    reader = Synthetic((), subjects, cameras, repetitions, seed)
    for recording in reader.recordings():
        (annotation,) = reader.read(recording)
        path = os.path.join(
            folder, ACTIONS[annotation['label']].replace(' ', '_'), annotation['frame_dir'][4:-4]
        )
        if form == 'kinect':
            with atomic_write(f'{path}.npy', 'wb') as file:
                np.save(file, annotation['keypoint'])
        else:
            with atomic_write(f'{path}.json') as file:
                file.write(_mmpose(as_coco(annotation['keypoint'])))
    return len(reader.recordings())
