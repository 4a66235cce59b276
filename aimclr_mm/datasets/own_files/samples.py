"""Synthetic recordings written as files, to try the commands for own recordings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import numpy as np

from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.datasets.synthetic import ACTIONS
from aimclr_mm.skeletons import COCO17, NTU25, get_layout, map_layout
from aimclr_mm.utils.files import atomic_write

FPS = 30.0
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


def _write_text(path: str, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text)


def _write_kinect(path: str, keypoint: np.ndarray) -> None:
    """Write joints (M, T, 25, 3) as an array."""
    with atomic_write(f'{path}.npy', 'wb') as file:
        np.save(file, keypoint)


def _write_csv(path: str, keypoint: np.ndarray) -> None:
    """Write the joints of the first person as a table with a column of seconds and a header."""
    head = ['time', *(f'{joint}_{axis}' for joint in NTU25.joints for axis in 'xyz')]
    rows = keypoint[0].reshape(keypoint.shape[1], -1)  # (T, 75)
    lines = [','.join(head)]
    for frame, row in enumerate(rows):
        lines.append(','.join([f'{frame / FPS:.3f}', *(f'{value:.4f}' for value in row)]))
    _write_text(f'{path}.csv', '\n'.join(lines) + '\n')


def _write_mmpose(path: str, keypoint: np.ndarray) -> None:
    """Write poses as the JSON of mmpose for a video."""
    frames = []
    for number, people in enumerate(as_coco(keypoint).swapaxes(0, 1), 1):
        instances = [
            dict(
                keypoints=person[:, :2].round(2).tolist(),
                keypoint_scores=person[:, 2].round(3).tolist(),
            )
            for person in people
            if person.any()
        ]
        frames.append(dict(frame_id=number, instances=instances))
    meta = dict(dataset_name='coco')
    _write_text(f'{path}.json', json.dumps(dict(meta_info=meta, instance_info=frames)))


def _write_openpose(path: str, keypoint: np.ndarray) -> None:
    """Write poses as OpenPose's folder of one file a frame, model BODY_25."""
    poses = map_layout(as_coco(keypoint), 'coco17', 'openpose25')  # (M, T, 25, 3)
    name = os.path.basename(path)
    for frame, people in enumerate(poses.swapaxes(0, 1)):
        found = [
            dict(person_id=[-1], pose_keypoints_2d=person.round(3).ravel().tolist())
            for person in people
            if person.any()
        ]
        file = os.path.join(path, f'{name}_{frame:012}_keypoints.json')
        _write_text(file, json.dumps(dict(version=1.3, people=found)))


def _write_mediapipe(path: str, keypoint: np.ndarray) -> None:
    """Write the world landmarks of the first person, as MediaPipe's pose landmarker returns them.

    The origin is between the hips, x points to the right of the camera and y down.
    """
    joints = map_layout(keypoint[0], 'ntu25', 'mediapipe33')  # (T, 33, 3)
    layout = get_layout('mediapipe33')
    hips = joints[:, [layout.index(f'{side}_hip') for side in ('left', 'right')]]
    landmarks = joints - hips.mean(axis=1, keepdims=True)
    frames = [
        dict(
            pose_world_landmarks=[
                [dict(x=x, y=y, z=z, visibility=SCORE) for x, y, z in pose.round(4).tolist()]
            ]
        )
        for pose in landmarks
    ]
    _write_text(f'{path}.json', json.dumps(frames))


FORMS: dict[str, Callable[[str, np.ndarray], None]] = {
    'kinect': _write_kinect,
    'csv': _write_csv,
    'mmpose': _write_mmpose,
    'openpose': _write_openpose,
    'mediapipe': _write_mediapipe,
}


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
        form: ``kinect``: ``.npy`` (M, T, 25, 3) in meters; ``csv``: tables of the first person;
            ``mmpose``: ``.json`` of 17 joints in pixels; ``openpose``: folders of ``.json``, 25
            joints in pixels; ``mediapipe``: ``.json`` of 33 world landmarks in meters.
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
        FORMS[form](path, annotation['keypoint'])
    return len(recordings)
