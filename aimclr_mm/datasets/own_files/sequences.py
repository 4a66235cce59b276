"""Files of single sequences: NumPy arrays, tables of numbers, JSON.

- ``.npy``: an array (T, V, C), (M, T, V, C), or (T, M * V * C) with the people one after the other;
- ``.npz``: such an array as ``keypoint`` (or the only one), and optionally ``keypoint_score``
  (T, V) or (M, T, V);
- ``.csv``, ``.txt``, ``.tsv``: a table, see :mod:`.tables`;
- ``.json``: such an array as a nested list; an object with ``keypoint`` and optionally
  ``keypoint_score``; or the results of mmpose for a video: a list of frames, each with
  ``instances``, or an object with this list as ``instance_info`` (``pred_out_dir`` of the
  inferencers, ``--save-predictions`` of the demos). ``frame_id`` starts at 0 in the one and at 1 in
  the other and is ignored. The n-th instance of each frame is the n-th person.

M people, T frames, V joints; C is the number of coordinates of the layout, or one more with a
score.
"""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

import numpy as np

from aimclr_mm.datasets.readers.sources import MAX_BYTES, RecordingError, SourceFile
from aimclr_mm.datasets.readers.text import load_json
from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.files import check_archive

from .shapes import MAX_TEXT, check_size, split_width
from .tables import read_table

Arrays = tuple[np.ndarray, np.ndarray | None]  # keypoints and scores before check_sequence


# NumPy


def _load_npy(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise RecordingError(f'is not a readable .npy file ({error})') from error

    if file.tell() != len(content):
        raise RecordingError(
            f'has {len(content)} bytes; the array {array.shape} in it ends after {file.tell()}, '
            'the file is damaged'
        )
    if array.dtype.kind not in 'fiu':
        raise RecordingError(f'holds {str(array.dtype)[:40]}, not numbers')
    return array


def _read_npy(content: bytes, _layout: Layout) -> Arrays:
    return _load_npy(content), None


def _read_npz(content: bytes, _layout: Layout) -> Arrays:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_archive(archive, len(content))
            names = [name for name in archive.namelist() if name != 'keypoint_score.npy']
            if 'keypoint.npy' in names:
                names = ['keypoint.npy']
            if len(names) != 1:
                found = sorted(name.removesuffix('.npy') for name in names)[:5]
                raise RecordingError(f'has arrays {found}; it must have keypoint')

            keypoint = _load_npy(_unpack(archive, names[0]))
            if 'keypoint_score.npy' not in archive.namelist():
                return keypoint, None
            return keypoint, _load_npy(_unpack(archive, 'keypoint_score.npy'))
    except RecordingError:
        raise
    except Exception as error:  # noqa: BLE001  damaged archives raise errors of many kinds
        raise RecordingError(f'is not a readable .npz file ({error})') from error


def _unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > MAX_BYTES:
        raise RecordingError(f'{name} has {size} bytes; the limit is {MAX_BYTES}')
    return archive.read(name)


# JSON


def _read_json(content: bytes, layout: Layout) -> Arrays:
    data = load_json(content, parse_int=float)

    if isinstance(data, dict) and 'keypoint' in data:
        score = data.get('keypoint_score')
        if score is not None:
            score = _to_array(score, 'keypoint_score')
        return _to_array(data['keypoint'], 'keypoint'), score

    frames = data.get('instance_info') if isinstance(data, dict) else data
    if not isinstance(frames, list):
        raise RecordingError("must have a list, or an object with 'keypoint' or 'instance_info'")
    if frames and isinstance(frames[0], dict):
        return _read_mmpose(frames, layout), None
    return _to_array(frames, 'the list'), None


def _to_array(value: Any, name: str) -> np.ndarray:
    """Convert a nested list to float64."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise RecordingError(
            f'{name} is not a regular list of numbers ({str(error)[:120]})'
        ) from error


def _read_mmpose(frames: list, layout: Layout) -> np.ndarray:
    """Return mmpose's frames of instances as (M, T, V, C + 1); absent people are zeros."""
    instances = [frame.get('instances') if isinstance(frame, dict) else None for frame in frames]
    for number, people in enumerate(instances):
        if not isinstance(people, list):
            raise RecordingError(
                f"frame {number} (counted from 0) has no list 'instances', which mmpose writes for "
                'each frame of a video'
            )

    num_people = max(map(len, instances))
    values = layout.num_joints * (layout.dims + 1)
    if not num_people:
        raise RecordingError('has no person in any frame')
    check_size(num_people, len(frames), num_people * len(frames) * values)

    result = np.zeros((num_people, len(frames), layout.num_joints, layout.dims + 1))
    for frame, people in enumerate(instances):
        for place, person in enumerate(people):
            where = f'frame {frame}, person {place} (counted from 0): '
            result[place, frame] = _read_instance(person, layout, where)
    return result


def _read_instance(person: Any, layout: Layout, where: str) -> np.ndarray:
    """Return coordinates and score (V, C + 1) of one instance of mmpose."""
    if not isinstance(person, dict) or not {'keypoints', 'keypoint_scores'} <= set(person):
        raise RecordingError(f"{where}needs 'keypoints' and 'keypoint_scores'")

    keypoint = _to_array(person['keypoints'], f'{where}keypoints')
    score = _to_array(person['keypoint_scores'], f'{where}keypoint_scores')
    expected = layout.num_joints, layout.dims
    if keypoint.shape != expected or score.shape != expected[:1]:
        raise RecordingError(
            f'{where}keypoints have shape {keypoint.shape} and scores {score.shape}; the layout '
            f'{layout.name} needs {expected} and {expected[:1]}'
        )
    return np.concatenate([keypoint, score[:, None]], axis=1)


# checks


def _to_float32(array: np.ndarray, layout: Layout, name: str) -> np.ndarray:
    """Convert an array (M, T, V, ...) to float32; NaN is the mark of a missing value."""
    with np.errstate(over='ignore'):  # values beyond float32 become inf and are reported below
        array = np.ascontiguousarray(array, dtype=np.float32)

    infinite = np.isinf(array)
    if infinite.any():
        person, frame, joint = np.unravel_index(infinite.argmax(), array.shape)[:3]
        raise RecordingError(
            f'{name} of frame {frame}, joint {joint} ({layout.joints[joint]}), person {person}, '
            'counted from 0, is not finite'
        )
    return array


def _to_four_axes(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Reshape an array of a permitted shape to (M, T, V, C)."""
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise RecordingError(
            f'has shape {array.shape}; it must be (frames, joints, channels), or have people as '
            'another axis before, and no axis may be empty'
        )
    joints, dims = layout.num_joints, layout.dims
    if array.ndim == 2:
        people, channels = split_width(array.shape[1], layout)
        array = array.reshape(len(array), people, joints, channels).swapaxes(0, 1)
    elif array.ndim == 3:
        array = array[None]

    if array.shape[2] != joints:
        raise RecordingError(f'has {array.shape[2]} joints; the layout {layout.name} has {joints}')
    if array.shape[3] not in (dims, dims + 1):
        raise RecordingError(
            f'has {array.shape[3]} values a joint; the layout {layout.name} has {dims} '
            f'coordinates, or {dims + 1} values with a score'
        )
    check_size(*array.shape[:2], array.size)
    return array


def check_sequence(array: np.ndarray, score: np.ndarray | None, layout: Layout) -> Arrays:
    """Check the coordinates and scores of a sequence and bring them to the standard shape.

    Args:
        array: (T, V, C), (M, T, V, C) or (T, M * V * C); C exceeds the number of coordinates of the
            layout by one if the last value is a score.
        score: (T, V) or (M, T, V), or None.
        layout: joint layout of the sequence.

    Returns:
        ``keypoint`` (M, T, V, C) and ``keypoint_score`` (M, T, V) or None, float32. NaN
        is a missing value.

    Raises:
        RecordingError: if the shape does not match the layout or a value is infinite.
    """
    array = _to_four_axes(array, layout)
    dims = layout.dims
    keypoint = _to_float32(array[..., :dims], layout, 'a coordinate')

    if array.shape[3] > dims:
        if score is not None:
            raise RecordingError(
                f'has scores twice: as keypoint_score and as the last of {dims + 1} values a joint'
            )
        score = array[..., dims]
    if score is not None:
        score = score[None] if score.ndim == 2 else score
        if score.shape != keypoint.shape[:3]:
            raise RecordingError(
                f'keypoint_score has shape {score.shape}; it must be {keypoint.shape[:3]}'
            )
        score = _to_float32(score, layout, 'the score')
    return keypoint, score


_FORMATS = {
    '.npy': (_read_npy, MAX_BYTES),
    '.npz': (_read_npz, MAX_BYTES),
    '.csv': (read_table, MAX_TEXT),
    '.txt': (read_table, MAX_TEXT),
    '.json': (_read_json, MAX_TEXT),
}


def read_sequence(file: SourceFile, layout: Layout) -> Arrays:
    """Read the coordinates and scores of one file.

    Args:
        file: in one of the formats of this module.
        layout: joint layout of the file.

    Returns:
        ``keypoint`` (M, T, V, C) and ``keypoint_score`` (M, T, V) or None, float32. NaN
        is a missing value.

    Raises:
        RecordingError: if the file is missing, damaged, too large or of another layout.
    """
    extension = os.path.splitext(file.name)[1].lower()
    if extension not in _FORMATS:
        raise RecordingError(f'has the extension {extension!r}; known are {list(_FORMATS)}')
    if not os.path.isfile(file.path):
        raise RecordingError(f'file {file.path} does not exist')

    read, limit = _FORMATS[extension]
    array, score = read(file.read(limit), layout)
    return check_sequence(array, score, layout)
