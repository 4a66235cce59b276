"""Pose estimators for videos. Their weights are files that the user names; nothing is downloaded.

- ``rtmlib``: RTMPose in ONNX format (github.com/Tau-J/rtmlib, 0.0.13 or newer), optionally with a
  YOLOX detector of people; without one the person has to fill the picture;
- ``mediapipe``: a pose landmarker bundle, ``.task`` (MediaPipe 0.10 or newer).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from aimclr_mm.skeletons import Layout

from .pose_json import Person

MAX_PEOPLE = 4  # that MediaPipe looks for


class Estimator(Protocol):
    """A pose estimator of one video."""

    layout: Layout

    def __call__(self, image: np.ndarray, time: int) -> list[Person]:
        """Return the people in a picture, in pixels or, for three coordinates, in meters.

        Args:
            image: (height, width, 3) uint8, blue, green, red.
            time: of the picture in the video, in milliseconds.
        """

    def close(self) -> None:
        """Free what the estimator holds."""


def require_weights(weights: Sequence[str], most: int) -> None:
    """Raise an error unless 1 to ``most`` files of weights exist."""
    if not 1 <= len(weights) <= most:
        raise ValueError(f'--weights has {len(weights)} files; this estimator needs 1 to {most}')
    for path in weights:
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f'{path!r} does not exist; download the weights from the page of the estimator and '
                'name the file'
            )


class RTMPose:
    """RTMPose, run by rtmlib and onnxruntime.

    Args:
        weights: ONNX file of the pose model, and maybe that of a YOLOX detector.
        layout: joints of the model, ``coco17`` or ``halpe26`` for example.
    """

    def __init__(self, weights: Sequence[str], layout: Layout) -> None:
        require_weights(weights, 2)
        try:
            from rtmlib import YOLOX
            from rtmlib import RTMPose as Model
        except ImportError as error:
            raise ImportError("install rtmlib: pip install 'aimclr_mm[rtmlib]'") from error
        self.layout = layout
        self._pose = Model(weights[0], _input_size(weights[0]), backend='onnxruntime')
        self._detector = None
        if len(weights) > 1:
            self._detector = YOLOX(weights[1], _input_size(weights[1]), backend='onnxruntime')

    def __call__(self, image: np.ndarray, time: int) -> list[Person]:
        """Return the people in a picture."""
        boxes = []
        if self._detector is not None:
            boxes = self._detector(image)
            if not len(boxes):  # without boxes the model takes the whole picture
                return []
        keypoints, scores = self._pose(image, boxes)
        _check_joints(keypoints.shape[1], self.layout)
        return [Person(*person) for person in zip(keypoints, scores)]

    def close(self) -> None:
        """Do nothing; sessions of onnxruntime free themselves."""


def _input_size(path: str) -> tuple[int, int]:
    """Return width and height of the pictures that an ONNX model takes."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        height, width = session.get_inputs()[0].shape[2:]
        return int(width), int(height)
    except Exception as error:  # noqa: BLE001  damaged models raise errors of many kinds
        raise ValueError(f'{path!r} is not an ONNX model of pictures ({error})') from error


class MediaPipe:
    """MediaPipe's pose landmarker.

    Args:
        weights: the bundle, such as ``pose_landmarker_full.task``.
        layout: ``mediapipe33`` for world landmarks in meters, ``mediapipe33_2d`` for those in the
            picture, in pixels.
    """

    def __init__(self, weights: Sequence[str], layout: Layout) -> None:
        require_weights(weights, 1)
        if layout.name not in ('mediapipe33', 'mediapipe33_2d'):
            raise ValueError(
                f'--layout {layout.name}: MediaPipe has mediapipe33 (meters) or mediapipe33_2d'
            )
        try:
            from mediapipe import Image, ImageFormat
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise ImportError("install mediapipe: pip install 'aimclr_mm[mediapipe]'") from error

        self.layout = layout
        self._image = lambda data: Image(image_format=ImageFormat.SRGB, data=data)
        options = vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=weights[0]),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=MAX_PEOPLE,
        )
        self._landmarker = vision.PoseLandmarker.create_from_options(options)

    def __call__(self, image: np.ndarray, time: int) -> list[Person]:
        """Return the people in a picture."""
        rgb = np.ascontiguousarray(image[..., ::-1])
        result = self._landmarker.detect_for_video(self._image(rgb), time)
        if self.layout.dims == 3:
            return [self._person(landmarks, 1.0) for landmarks in result.pose_world_landmarks]
        height, width = image.shape[:2]  # the landmarks are fractions of the picture
        return [self._person(landmarks, (width, height)) for landmarks in result.pose_landmarks]

    def _person(self, landmarks: Sequence[Any], scale: float | tuple[int, int]) -> Person:
        _check_joints(len(landmarks), self.layout)
        axes = 'xyz'[: self.layout.dims]
        keypoint = np.array([[getattr(point, axis) for axis in axes] for point in landmarks])
        return Person(keypoint * scale, np.array([point.visibility for point in landmarks]))

    def close(self) -> None:
        """Free the landmarker."""
        self._landmarker.close()


def _check_joints(found: int, layout: Layout) -> None:
    if found != layout.num_joints:
        raise ValueError(
            f'the model finds {found} joints; layout {layout.name} has {layout.num_joints}. Give '
            '--layout that of the model'
        )


ESTIMATORS = dict(rtmlib=RTMPose, mediapipe=MediaPipe)
LAYOUTS = dict(rtmlib='coco17', mediapipe='mediapipe33')  # default of each
