"""JSON of pose estimators, each as its project writes it.

==============================  ===================================================================
mmpose 1.x                      a list of frames with ``instances``, or ``instance_info``, this list
                                (``pred_out_dir`` of the inferencers, ``--save-predictions`` of the
                                demos)
rtmlib 0.0.x                    a list of frames with ``keypoints`` (M, V, C) and ``scores`` (M, V),
                                what its models return
OpenPose 1.7 (``--write_json``) a file a frame with ``people``, of which each has
                                ``pose_keypoints_2d``; see :func:`read_frame_files`
AlphaPose 0.6                   ``alphapose-results.json``: one list of people, each with
                                ``image_id`` and ``keypoints``; or its ``open`` and ``cmu`` format
Kinetics-skeleton (ST-GCN)      ``data``, a list of ``frame_index`` and ``skeleton``
MediaPipe 0.10                  a list of frames, or ``frames``, this list: results of the pose or
                                hand landmarker, or landmarks with ``x``, ``y``, ``z``
Azure Kinect                    ``frames`` with ``bodies``, of which each has ``joint_positions``
                                (offline_processor of the Body Tracking SDK's samples)
==============================  ===================================================================

The file may also hold an array (T, V, C), (M, T, V, C) or (T, M * V * C) as nested lists, or an
object with it as ``keypoint`` and optionally ``keypoint_score`` and ``img_shape``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimclr_mm.datasets.readers.sources import RecordingError
from aimclr_mm.datasets.readers.text import load_json
from aimclr_mm.skeletons import Layout

from .shapes import MAX_FILLED, MAX_FRAMES, check_size, suggest_layouts

FRACTIONS = (1, 1)  # img_shape of coordinates that are fractions of the picture
UNKNOWN = -1  # track id

# fields of MediaPipe's results: in meters, and in the picture
_WORLD = ('pose_world_landmarks', 'poseWorldLandmarks', 'hand_world_landmarks', 'world_landmarks')
_WORLD += ('worldLandmarks', 'multi_hand_world_landmarks', 'multiHandWorldLandmarks')
_IMAGE = ('pose_landmarks', 'poseLandmarks', 'hand_landmarks', 'landmarks', 'landmark')
_IMAGE += ('multi_hand_landmarks', 'multiHandLandmarks')


@dataclass(frozen=True)
class Person:
    """A person in one frame.

    Args:
        keypoint: (V, C) coordinates.
        score: (V,) scores, or None.
        track: number of the person in all frames, negative if unknown.
    """

    keypoint: np.ndarray
    score: np.ndarray | None = None
    track: int = UNKNOWN


Frames = list[list[Person]]


def read_json(content: bytes, layout: Layout) -> dict[str, Any]:
    """Read the arrays of a JSON file.

    Args:
        content: the file, in one of the forms of this module.
        layout: joint layout of the file.

    Returns:
        ``keypoint`` and, where known, ``keypoint_score``, ``track_ids`` (M, T) and ``img_shape``.

    Raises:
        RecordingError: if the file has another form or other joints.
    """
    data = load_json(content, parse_int=float)
    if isinstance(data, dict) and 'keypoint' in data:
        fields = {
            name: _to_array(data[name], name)
            for name in ('keypoint', 'keypoint_score')
            if data.get(name) is not None
        }
        return {**fields, 'img_shape': data.get('img_shape')}

    if isinstance(data, dict):
        return _read_object(data, layout)
    if not isinstance(data, list):
        raise RecordingError("must have a list, or an object with 'keypoint' or 'instance_info'")
    return _read_list(data, layout)


def read_frame_files(contents: Iterable[bytes], names: Sequence[str], layout: Layout) -> dict:
    """Read a recording with one JSON file of OpenPose per frame.

    Args:
        contents: the files.
        names: names of the files, such as ``clip_000000000012_keypoints.json``; the number is that
            of the frame.
        layout: joint layout.
    """
    frames: Frames = []
    for name, content in zip(names, contents):
        try:
            data = load_json(content, parse_int=float)
            frames.append(_openpose_frame(data, layout))
        except RecordingError as error:
            raise RecordingError(f'{name}: {error}') from error
    return join_frames(
        _place(frames, _numbers([name.split('_keypoints')[0] for name in names])), layout
    )


def _read_object(data: dict, layout: Layout) -> dict[str, Any]:
    """Read an object with the frames under a name, or under the names of the pictures."""
    if 'instance_info' in data:
        return _read_list(data['instance_info'], layout)
    if 'people' in data:
        raise RecordingError(
            'is a single frame of OpenPose; a recording is a folder of such files, one per frame, '
            'with names that end in _keypoints.json'
        )
    if isinstance(data.get('data'), list):
        return _read_kinetics(data['data'], layout)
    if isinstance(data.get('frames'), list):
        return _read_list(data['frames'], layout)

    frames = list(data.values())
    if frames and all(isinstance(f, dict) and {'people', 'bodies'} & set(f) for f in frames):
        people = [_openpose_frame(frame, layout) for frame in frames]
        return join_frames(_place(people, _numbers(list(data))), layout)
    if set(data) & {*_WORLD, *_IMAGE}:
        return _read_list([data], layout)
    raise RecordingError(
        "must have a list, or an object with 'keypoint' or 'instance_info' (mmpose), 'people' "
        "(OpenPose), 'data' (Kinetics-skeleton) or 'frames'; it has "
        f'{", ".join(map(repr, sorted(data)[:5])) or "nothing"}'
    )


def _read_list(data: Any, layout: Layout) -> dict[str, Any]:
    """Read a list of frames, a list of people with their frames, or nested lists of numbers."""
    if not isinstance(data, list):
        raise RecordingError('has frames that are not a list')
    first = next((item for item in data if item), None)
    if isinstance(first, dict):
        if 'image_id' in first:
            return _read_alphapose(data, layout)
        if 'bodies' in first:
            return _read_azure(data, layout)
        if 'instances' not in first and _are_results(first):
            frames = [_each(_rtmlib_frame, frame, layout, n) for n, frame in enumerate(data)]
            return join_frames(frames, layout)
        if set(first) & {*_WORLD, *_IMAGE}:
            return _read_mediapipe(data, layout)
        return join_frames(_mmpose_frames(data, layout), layout)

    if isinstance(first, list) and _find_landmark(first):
        return _read_mediapipe(data, layout)
    return dict(keypoint=_to_array(data, 'the list'))


def _each(read: Callable, frame: Any, layout: Layout, number: int) -> list[Person]:
    """Read one frame; errors name its number."""
    try:
        return read(frame, layout)
    except RecordingError as error:
        raise RecordingError(f'frame {number} (counted from 0): {error}') from error


# projects


def _mmpose_frames(frames: list, layout: Layout) -> Frames:
    """Return the people of frames with ``instances``; ``frame_id`` starts at 0 or at 1."""
    instances = [frame.get('instances') if isinstance(frame, dict) else None for frame in frames]
    for number, people in enumerate(instances):
        if not isinstance(people, list):
            raise RecordingError(
                f"frame {number} (counted from 0) has no list 'instances', which mmpose writes for "
                'each frame of a video'
            )

    num_people = max(map(len, instances))
    values = num_people * len(frames) * layout.num_joints * (layout.dims + 1)
    check_size(num_people, len(frames), values, MAX_FILLED)
    return [
        [
            _mmpose_person(person, layout, f'frame {number}, person {place} (counted from 0): ')
            for place, person in enumerate(people)
        ]
        for number, people in enumerate(instances)
    ]


def _mmpose_person(person: Any, layout: Layout, where: str) -> Person:
    if not isinstance(person, dict) or not {'keypoints', 'keypoint_scores'} <= set(person):
        raise RecordingError(f"{where}needs 'keypoints' and 'keypoint_scores'")

    keypoint = _to_array(person['keypoints'], f'{where}keypoints')
    score = _to_array(person['keypoint_scores'], f'{where}keypoint_scores')
    expected = layout.num_joints, layout.dims
    if keypoint.shape != expected or score.shape != expected[:1]:
        raise RecordingError(
            f'{where}keypoints have shape {keypoint.shape} and scores {score.shape}; the layout '
            f'{layout.name} needs {expected} and {expected[:1]}{suggest_layouts(keypoint.size)}'
        )
    return Person(keypoint, score, _track(person.get('track_id')))


def _are_results(frame: dict) -> bool:
    """Return whether a frame holds the arrays of all people, as rtmlib's models return them."""
    if 'keypoints' not in frame or not {'scores', 'keypoint_scores'} & set(frame):
        return False
    level = frame['keypoints']
    for _ in range(2):  # of people, of joints
        if not isinstance(level, list) or not level:
            return level == []
        level = level[0]
    return isinstance(level, list)


def _rtmlib_frame(frame: Any, layout: Layout) -> list[Person]:
    if not isinstance(frame, dict) or not _are_results(frame):
        raise RecordingError("needs 'keypoints' and 'scores' of all people")
    keypoint = _to_array(frame['keypoints'], 'keypoints')
    score = _to_array(frame.get('scores', frame.get('keypoint_scores')), 'scores')
    if not keypoint.size:
        return []

    expected = layout.num_joints, layout.dims
    if keypoint.shape[1:] != expected or score.shape != keypoint.shape[:2]:
        raise RecordingError(
            f'keypoints have shape {keypoint.shape} and scores {score.shape}; the layout '
            f'{layout.name} needs (people, {expected[0]}, {expected[1]}) and (people, '
            f'{expected[0]}){suggest_layouts(math.prod(keypoint.shape[1:]))}'
        )
    tracks = frame.get('track_ids') or [None] * len(keypoint)
    return [Person(*person) for person in zip(keypoint, score, map(_track, tracks))]


def _openpose_frame(data: Any, layout: Layout) -> list[Person]:
    """Return the people of a frame of OpenPose, or of AlphaPose in its or CMU's format."""
    people = data.get('people', data.get('bodies')) if isinstance(data, dict) else None
    if not isinstance(people, list):
        raise RecordingError("has no list 'people', which OpenPose writes for each frame")

    found = []
    for place, person in enumerate(people):
        values = None
        if isinstance(person, dict):
            values = person.get('pose_keypoints_2d', person.get('joints'))
            values = person.get('pose_keypoints') if values is None else values
        if values is None:
            raise RecordingError(f"person {place} has no 'pose_keypoints_2d'")
        if values:  # a person of whom only the face or a hand was found has no pose
            found.append(_scored(values, layout, f'person {place}', person.get('person_id')))
    return found


def _scored(values: Any, layout: Layout, where: str, track: Any) -> Person:
    """Return the person of a flat list x, y, score, x, y, score, ..."""
    array = _to_array(values, f'{where}: keypoints')
    width = layout.dims + 1
    if array.shape != (layout.num_joints * width,):
        raise RecordingError(
            f'{where} has {array.size} values; the layout {layout.name} has {layout.num_joints} '
            f'joints of {width} values, a score included{suggest_layouts(array.size)}'
        )
    array = array.reshape(layout.num_joints, width)
    return Person(array[:, :-1], array[:, -1], _track(track))


def _read_alphapose(people: list, layout: Layout) -> dict[str, Any]:
    """Read a list of people; the numbers in ``image_id`` are those of the frames."""
    images: dict[str, list[Person]] = {}
    for place, person in enumerate(people):
        if not isinstance(person, dict) or not {'image_id', 'keypoints'} <= set(person):
            raise RecordingError(f"entry {place} (counted from 0) needs 'image_id' and 'keypoints'")
        image = person['image_id']
        name = f'{image:.0f}' if isinstance(image, float) else str(image)
        track = person.get('idx', person.get('track_id'))
        images.setdefault(name, []).append(
            _scored(person['keypoints'], layout, f'entry {place} (counted from 0)', track)
        )
    return join_frames(_place(list(images.values()), _numbers(list(images))), layout)


def _read_kinetics(frames: list, layout: Layout) -> dict[str, Any]:
    """Read a file of Kinetics-skeleton: fractions of the picture, ``frame_index`` from 1."""
    found = [_each(_kinetics_frame, frame, layout, n) for n, frame in enumerate(frames)]
    placed = _place(found, _stated_numbers(frames, 'frame_index'))
    return {**join_frames(placed, layout), 'img_shape': FRACTIONS}


def _kinetics_frame(frame: Any, layout: Layout) -> list[Person]:
    people = frame.get('skeleton') if isinstance(frame, dict) else None
    if not isinstance(people, list):
        raise RecordingError("has no list 'skeleton'")

    found = []
    for place, person in enumerate(people):
        if not isinstance(person, dict) or not {'pose', 'score'} <= set(person):
            raise RecordingError(f"person {place} needs 'pose' and 'score'")
        pose = _to_array(person['pose'], f'pose of person {place}')
        score = _to_array(person['score'], f'score of person {place}')
        joints, dims = layout.num_joints, layout.dims
        if pose.shape != (joints * dims,) or score.shape != (joints,):
            raise RecordingError(
                f'person {place} has {pose.size} values and {score.size} scores; the layout '
                f'{layout.name} needs {joints * dims} and {joints}{suggest_layouts(pose.size)}'
            )
        found.append(Person(pose.reshape(joints, dims), score))
    return found


def _read_azure(frames: list, layout: Layout) -> dict[str, Any]:
    """Read the bodies of each frame, in millimeters; ``body_id`` is their track."""
    found = [_each(_azure_frame, frame, layout, n) for n, frame in enumerate(frames)]
    return join_frames(_place(found, _stated_numbers(frames, 'frame_id')), layout)


def _azure_frame(frame: Any, layout: Layout) -> list[Person]:
    bodies = frame.get('bodies') if isinstance(frame, dict) else None
    if not isinstance(bodies, list):
        raise RecordingError("has no list 'bodies'")

    found = []
    for place, body in enumerate(bodies):
        if not isinstance(body, dict) or 'joint_positions' not in body:
            raise RecordingError(f"body {place} has no 'joint_positions'")
        positions = _to_array(body['joint_positions'], f'joint_positions of body {place}')
        expected = layout.num_joints, layout.dims
        if positions.shape != expected:
            raise RecordingError(
                f'body {place} has joint_positions of shape {positions.shape}; the layout '
                f'{layout.name} needs {expected}{suggest_layouts(positions.size)}'
            )
        found.append(Person(positions, track=_track(body.get('body_id'))))
    return found


def _read_mediapipe(frames: list, layout: Layout) -> dict[str, Any]:
    """Read landmarks: world landmarks for three coordinates, those in the picture for two."""
    fields = join_frames(
        [_each(_mediapipe_frame, frame, layout, n) for n, frame in enumerate(frames)], layout
    )
    return fields if layout.dims == 3 else {**fields, 'img_shape': FRACTIONS}


def _mediapipe_frame(frame: Any, layout: Layout) -> list[Person]:
    if isinstance(frame, dict):
        wanted = _WORLD if layout.dims == 3 else _IMAGE
        key = next((key for key in wanted if key in frame), None)
        if key is None and set(frame) & {*_WORLD, *_IMAGE}:
            kind = 'world landmarks' if layout.dims == 3 else 'landmarks in the picture'
            raise RecordingError(
                f'has {", ".join(map(repr, frame))}, but no {kind}, which layout {layout.name} '
                f'needs for its {layout.dims} coordinates'
            )
        frame = frame.get(key)
    return [
        _landmarks(person, layout, f'person {place}') for place, person in enumerate(_people(frame))
    ]


def _people(value: Any) -> list:
    """Return the lists of landmarks, one per person, in any of the forms of the results."""
    if isinstance(value, dict):
        value = value.get('landmark', value.get('landmarks', []))
    if not value:
        return []
    if not isinstance(value, list):
        raise RecordingError('has landmarks that are not a list')

    first = value[0]
    is_landmark = isinstance(first, dict) and 'x' in first
    is_numbers = isinstance(first, list) and first and isinstance(first[0], float)
    if is_landmark or is_numbers:
        return [value]
    return [person for item in value for person in _people(item)]


def _landmarks(landmarks: list, layout: Layout, where: str) -> Person:
    if len(landmarks) != layout.num_joints:
        raise RecordingError(
            f'{where} has {len(landmarks)} landmarks; the layout {layout.name} has '
            f'{layout.num_joints}'
        )
    if isinstance(landmarks[0], list):
        array = _to_array(landmarks, f'landmarks of {where}')
        score = array[:, 3] if array.ndim == 2 and array.shape[1] > 3 else None
    else:
        axes = 'xyz'[: layout.dims]
        rows = [[item.get(axis) for axis in axes] for item in landmarks if isinstance(item, dict)]
        array = _to_array(rows, f'landmarks of {where}')
        scores = [item.get('visibility') for item in landmarks if isinstance(item, dict)]
        score = None if None in scores else _to_array(scores, f'visibility of {where}')

    if array.ndim != 2 or len(array) != layout.num_joints or array.shape[1] < layout.dims:
        raise RecordingError(f'{where} has landmarks without {layout.dims} coordinates')
    return Person(array[:, : layout.dims], score)


def _find_landmark(frame: list) -> bool:
    """Return whether a list holds landmarks with names of their coordinates."""
    return bool(frame) and (
        isinstance(frame[0], dict)
        and ('x' in frame[0] or 'landmark' in frame[0])
        or isinstance(frame[0], list)
        and _find_landmark(frame[0])
    )


# arrays


def _numbers(names: Sequence[str]) -> list[int] | None:
    """Return the last number in each name; None if one has none, or two have the same."""
    found = [re.search(r'(\d{1,18})\D*$', name) for name in names]
    if not names or None in found:
        return None
    numbers = [int(match[1]) for match in found]
    return numbers if len(set(numbers)) == len(numbers) else None


def _stated_numbers(frames: Sequence[dict], field: str) -> list[int] | None:
    """Return the numbers in a field of the frames; None if one has none, or two have the same."""
    numbers = [frame.get(field) for frame in frames]
    are_whole = all(isinstance(n, float) and 0 <= n < 1e18 and n == int(n) for n in numbers)
    return list(map(int, numbers)) if are_whole and len(set(numbers)) == len(numbers) else None


def _place(frames: Frames, numbers: list[int] | None) -> Frames:
    """Return the frames in the order of their numbers; frames between them hold nobody.

    Pictures that were taken from a video at equal distances follow each other.
    """
    if numbers is None or len(frames) < 2:
        return frames
    first = min(numbers)
    step = math.gcd(*(number - first for number in numbers))
    total = (max(numbers) - first) // step + 1
    check_size(1, total, total)
    placed: Frames = [[] for _ in range(total)]
    for number, people in zip(numbers, frames):
        placed[(number - first) // step] = people
    return placed


def join_frames(frames: Frames, layout: Layout) -> dict[str, Any]:
    """Return the arrays of all frames; the n-th person of a frame is in row n.

    Args:
        frames: people of each frame.
        layout: joint layout.

    Returns:
        ``keypoint`` (M, T, V, C), NaN where a row has nobody, and where known ``keypoint_score``
        (M, T, V) and ``track_ids`` (M, T).

    Raises:
        RecordingError: if there is nobody in any frame, or the arrays are too large.
    """
    people = max(map(len, frames), default=0)
    if not people:
        raise RecordingError('has no person in any frame')
    joints, dims = layout.num_joints, layout.dims
    check_size(people, len(frames), people * len(frames) * joints * (dims + 1), MAX_FILLED)

    keypoint = np.full((people, len(frames), joints, dims), np.nan)
    score = np.zeros(keypoint.shape[:3])
    tracks = np.full(keypoint.shape[:2], UNKNOWN)
    for frame, found in enumerate(frames):
        for place, person in enumerate(found):
            keypoint[place, frame] = person.keypoint
            score[place, frame] = 1 if person.score is None else person.score
            tracks[place, frame] = person.track

    fields = dict(keypoint=keypoint)
    if all(person.score is not None for found in frames for person in found):
        fields['keypoint_score'] = score
    if (tracks >= 0).any():
        fields['track_ids'] = tracks
    return fields


def _track(value: Any) -> int:
    """Return a track id, negative if it is none; AlphaPose writes a number or a list of one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    is_id = isinstance(value, (int, float)) and math.isfinite(value) and value == int(value)
    return int(value) if is_id and 0 <= value < MAX_FRAMES else UNKNOWN


def _to_array(value: Any, name: str) -> np.ndarray:
    """Convert a nested list to float64; null is NaN."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise RecordingError(
            f'{name} is not a regular list of numbers ({str(error)[:120]})'
        ) from error
