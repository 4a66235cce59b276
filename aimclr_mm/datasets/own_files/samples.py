"""Synthetic recordings written as files, to try the commands for own recordings."""

from __future__ import annotations

import json
import os

import numpy as np

from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.datasets.synthetic import ACTIONS
from aimclr_mm.skeletons import COCO17, NTU25
from aimclr_mm.utils.files import atomic_write

FORMS = ('kinect', 'mmpose')
FOCAL, WIDTH, HEIGHT = 1060.0, 1920, 1080  # pixels, color camera of Kinect v2
SCORE = 0.9
MIN_DEPTH = 0.1  # meters

# offsets of the joints of the face from the head (right of the person, up, ahead), meters
_FACE = dict(
    nose=(0, -0.02, 0.1),
    left_eye=(-0.03, 0.02, 0.08),
    right_eye=(0.03, 0.02, 0.08),
    left_ear=(-0.08, 0, 0),
    right_ear=(0.08, 0, 0),
)


def as_coco(keypoint: np.ndarray) -> np.ndarray:
    """Project skeletons into the image, with the 17 joints of COCO as a pose estimator gives them.

    Args:
        keypoint: (M, T, 25, 3) joints in the layout of NTU, meters in the camera frame, z ahead,
            y up.

    Returns:
        (M, T, 17, 3): x to the right and y down in pixels of a 1920 x 1080 image, and a score;
        zeros where a person is absent.
    """
    joints = dict(zip(NTU25.joints, np.moveaxis(keypoint, 2, 0)))  # (M, T, 3) each
    right = joints['right_shoulder'] - joints['left_shoulder']
    right = right / np.linalg.norm(right, axis=-1, keepdims=True).clip(1e-6)
    up = np.broadcast_to([0.0, 1.0, 0.0], right.shape)
    axes = np.stack([right, up, np.cross(right, up)], axis=-1)  # (M, T, 3, 3), axes as columns
    for name, offset in _FACE.items():
        joints[name] = joints['head'] + axes @ np.array(offset)

    coco = np.stack([joints[name] for name in COCO17.joints], axis=2)  # (M, T, 17, 3)
    x, y, z = np.moveaxis(coco, -1, 0)
    z = z.clip(MIN_DEPTH)
    column = WIDTH / 2 + FOCAL * x / z
    row = HEIGHT / 2 - FOCAL * y / z
    projected = np.stack([column, row, np.full_like(x, SCORE)], axis=-1)

    present = keypoint.any(axis=(2, 3))[..., None, None]
    return np.where(present, projected, 0.0)


def _to_mmpose(poses: np.ndarray) -> str:
    """Return poses (M, T, 17, 3) as the JSON text that mmpose writes for a video."""
    frames = []
    for number, people in enumerate(poses.swapaxes(0, 1), 1):
        instances = [
            dict(
                keypoints=person[:, :2].round(2).tolist(),
                keypoint_scores=person[:, 2].round(3).tolist(),
            )
            for person in people
            if person.any()
        ]
        frames.append(dict(frame_id=number, instances=instances))
    return json.dumps(dict(meta_info=dict(dataset_name='coco'), instance_info=frames))


def write_samples(
    folder: str,
    form: str = 'kinect',
    subjects: int = 10,
    cameras: int = 2,
    repetitions: int = 1,
    seed: int = 0,
) -> int:
    """Write recordings to ``folder/<action>/C001P003R001.npy`` (camera, subject, repetition).

    Args:
        folder: folder to write to.
        form: ``kinect``: ``.npy`` (M, T, 25, 3) in meters; ``mmpose``: ``.json`` of 17 joints in
            pixels.
        subjects, cameras, repetitions, seed: see
            :class:`~aimclr_mm.datasets.readers.synthetic.Synthetic`.

    Returns:
        The number of files.

    Raises:
        ValueError: if the form is unknown or a number is out of range.
    """
    if form not in FORMS:
        raise ValueError(f'form={form!r}; known are {", ".join(FORMS)}')

    reader = Synthetic((), subjects, cameras, repetitions, seed)
    recordings = reader.recordings()
    for recording in recordings:
        (annotation,) = reader.read(recording)
        name = annotation['frame_dir'][4:-4]  # without setup and action
        path = os.path.join(folder, ACTIONS[annotation['label']], name)
        if form == 'kinect':
            with atomic_write(f'{path}.npy', 'wb') as file:
                np.save(file, annotation['keypoint'])
        else:
            with atomic_write(f'{path}.json') as file:
                file.write(_to_mmpose(as_coco(annotation['keypoint'])))
    return len(recordings)
