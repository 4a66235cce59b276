"""Files of single sequences as people make them themselves: NumPy arrays, tables of numbers, JSON.

- ``.npy``: an array (T, V, C), (M, T, V, C), or (T, M * V * C) with the people one after the other;
- ``.npz``: such an array as ``keypoint`` (or the only one), and perhaps ``keypoint_score`` (T, V) or (M, T, V);
- ``.csv``, ``.txt``: a line of M * V * C numbers for each frame, separated by commas, semicolons, tabs or blanks;
  the first line may be a header;
- ``.json``: such an array as a nested list; an object with ``keypoint`` and perhaps ``keypoint_score``; or what
  mmpose writes for a video: a list of frames, each with ``instances``, or an object with that list as
  ``instance_info`` (``pred_out_dir`` of its inferencers and ``--save-predictions`` of its demos; ``frame_id`` starts
  at 0 in the one and at 1 in the other and is not used). People keep their place in the frame.

M people, T frames, V joints; C is the number of coordinates of the layout, or one more for a score.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy

from aimclr_mm.datasets.readers.sources import MAX_BYTES, RecordingError, SourceFile
from aimclr_mm.datasets.readers.text import is_number, load_json, number_table, parse_text
from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.files import check_archive

MAX_TEXT = 64 * 2**20  # bytes; text takes many times its size while it is read
MAX_FRAMES, MAX_PEOPLE = 1_000_000, 64
MAX_VALUES = MAX_BYTES // 4  # float32
_SHAPES = 'it must be (frames, joints, channels), or have people as another axis before, and no axis may be empty'


def _read_npy(content: bytes, _layout: Layout) -> tuple[np.ndarray, None]:
    file = io.BytesIO(content)
    try:
        read_header = (
            npy.read_array_header_1_0
            if npy.read_magic(file) == (1, 0)
            else npy.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(file)
    except Exception as error:  # noqa: BLE001  damaged headers raise errors of many kinds
        raise RecordingError(f'is no readable .npy file ({error})') from error
    if dtype.kind not in 'fiu':
        raise RecordingError(f'holds {str(dtype)[:40]}, not numbers')
    if len(shape) not in (2, 3, 4) or any(
        type(length) is not int or length <= 0 for length in shape
    ):
        raise RecordingError(f'has shape {shape}; {_SHAPES}')
    size, present = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if size != present:
        raise RecordingError(
            f'should have {size} bytes of an array {shape}, but has {present}; it is damaged'
        )
    return np.ndarray(shape, dtype, content, file.tell(), order='F' if fortran else 'C'), None


def _read_npz(content: bytes, layout: Layout) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_archive(archive, len(content))
            members = {
                member.filename.removesuffix('.npy'): member for member in archive.infolist()
            }
            score = members.pop('keypoint_score', None)
            if 'keypoint' not in members and len(members) != 1:
                raise RecordingError(f'has arrays {sorted(members)[:5]}; it must have keypoint')
            keypoint = members.get('keypoint') or next(iter(members.values()))
            for member in filter(None, (keypoint, score)):
                if member.file_size > MAX_BYTES:
                    raise RecordingError(
                        f'{member.filename} has {member.file_size} bytes; the limit is {MAX_BYTES}'
                    )
            return (
                _read_npy(archive.read(keypoint), layout)[0],
                None if score is None else _read_npy(archive.read(score), layout)[0],
            )
    except RecordingError:
        raise
    except Exception as error:  # noqa: BLE001  damaged archives raise errors of many kinds
        raise RecordingError(f'is no readable .npz file ({error})') from error


def _split_width(width: int, layout: Layout) -> tuple[int, int]:
    """People and channels of frames with ``width`` numbers."""
    joints, dims = layout.num_joints, layout.dims
    fits = [
        (width // (joints * channels), channels)
        for channels in (dims, dims + 1)
        if width % (joints * channels) == 0
    ]
    if not fits or not width:
        raise RecordingError(
            f'has {width} values a frame; {joints} joints (layout {layout.name}) make '
            f'{joints * dims} for each person, or {joints * (dims + 1)} with scores'
        )
    if len(fits) == 2:
        raise RecordingError(
            f'has {width} values a frame, which may be {fits[0][0]} people or {fits[1][0]} with '
            'scores; save an array (people, frames, joints, channels) as .npy'
        )
    return fits[0]


def _read_table(content: bytes, layout: Layout) -> tuple[np.ndarray, None]:
    content = content.removeprefix(b'\xef\xbb\xbf').rstrip()
    if b'\0' in content:
        raise RecordingError('is no plain text; save it as UTF-8')
    if content.count(b'\n') > MAX_FRAMES:
        raise RecordingError(f'has more than {MAX_FRAMES} lines')
    lines, longest = content.split(b'\n'), MAX_PEOPLE * layout.num_joints * (layout.dims + 1) * 32
    for number, line in enumerate(lines, 1):
        if len(line) > longest:
            raise RecordingError(
                f'line {number}: has {len(line)} characters; a frame has {longest} at most'
            )
    cells = re.split(r'[;,\s]+', lines[0].decode('latin1').strip('#;, \t\r'))
    # pandas names columns 0, 1, 2, ... if they have no name
    header = not any(map(is_number, cells)) or cells == list(map(str, range(len(cells))))
    if header:
        lines[0] = b''
    if len(lines) == int(header):
        raise RecordingError('has no frame')
    first = lines[int(header)].strip()
    separator = next((mark for mark in (b';', b',') if mark in first), None)
    width = len(first.rstrip(separator).split(separator))
    people, channels = _split_width(width, layout)
    _check_size(people, len(lines), len(lines) * width)

    def parse(text: bytes) -> np.ndarray:
        table = number_table(text, width, separator=(separator or b' ').decode())[int(header) :]
        finite = np.isfinite(table)
        if not finite.all():
            frame, column = np.unravel_index(finite.argmin(), table.shape)
            raise RecordingError(
                f'line {frame + header + 1}: value {column + 1} of {width} is missing or no finite '
                f'number (frame {frame}, joint {column // channels % layout.num_joints}, counted '
                'from 0)'
            )
        return table

    content = b'\n'.join(lines)
    return (parse(content) if separator else parse_text(content, parse)), None


def _numbers(value: Any, what: str) -> np.ndarray:
    """A nested list as an array."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise RecordingError(
            f'{what} is no regular list of numbers ({str(error)[:120]})'
        ) from error


def _read_people(frames: list, layout: Layout) -> np.ndarray:
    """mmpose's frames of instances as (M, T, V, C + 1); who is absent is zeros."""
    instances = [frame.get('instances') if isinstance(frame, dict) else None for frame in frames]
    for number, people in enumerate(instances):
        if not isinstance(people, list):
            raise RecordingError(
                f"frame {number} (counted from 0) has no list 'instances', as mmpose's results of a "
                'video have'
            )
    joints, dims, people = layout.num_joints, layout.dims, max(map(len, instances))
    if not people:
        raise RecordingError('has nobody in any frame')
    _check_size(people, len(frames), people * len(frames) * joints * (dims + 1))
    result = np.zeros((people, len(frames), joints, dims + 1))
    for frame, people in enumerate(instances):
        for place, person in enumerate(people):
            where = f'frame {frame}, person {place} (counted from 0): '
            if not isinstance(person, dict) or not {'keypoints', 'keypoint_scores'} <= set(person):
                raise RecordingError(f"{where}needs 'keypoints' and 'keypoint_scores'")
            keypoint = _numbers(person['keypoints'], f'{where}keypoints')
            score = _numbers(person['keypoint_scores'], f'{where}keypoint_scores')
            if keypoint.shape != (joints, dims) or score.shape != (joints,):
                raise RecordingError(
                    f'{where}keypoints have shape {keypoint.shape} and scores {score.shape}; the '
                    f'layout {layout.name} needs {(joints, dims)} and {(joints,)}'
                )
            result[place, frame, :, :dims], result[place, frame, :, dims] = keypoint, score
    return result


def _read_json(content: bytes, layout: Layout) -> tuple[np.ndarray, np.ndarray | None]:
    data = load_json(content, parse_int=float)
    if isinstance(data, dict) and 'keypoint' in data:
        score = data.get('keypoint_score')
        return _numbers(data['keypoint'], 'keypoint'), None if score is None else _numbers(
            score, 'keypoint_score'
        )
    frames = data.get('instance_info') if isinstance(data, dict) else data
    if not isinstance(frames, list):
        raise RecordingError("must have a list, or an object with 'keypoint' or 'instance_info'")
    if frames and isinstance(frames[0], dict):
        return _read_people(frames, layout), None
    return _numbers(frames, 'the list'), None


def _check_size(people: int, frames: int, values: int) -> None:
    if people > MAX_PEOPLE or frames > MAX_FRAMES or values > MAX_VALUES:
        raise RecordingError(
            f'has {people} people, {frames} frames and {values} values; the limits are {MAX_PEOPLE}, '
            f'{MAX_FRAMES} and {MAX_VALUES}'
        )


def _finite(array: np.ndarray, layout: Layout, what: str) -> np.ndarray:
    """An array (M, T, V, ...) as float32, if all of it is finite."""
    with np.errstate(over='ignore'):
        array = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(array)
    if not finite.all():
        person, frame, joint = np.unravel_index(finite.argmin(), array.shape)[:3]
        raise RecordingError(
            f'{what} of frame {frame}, joint {joint} ({layout.joints[joint]}), person {person}, '
            f'counted from 0, is not finite'
        )
    return array


def _arrange(array: np.ndarray, layout: Layout) -> np.ndarray:
    """An array of one of the permitted shapes as (M, T, V, C)."""
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise RecordingError(f'has shape {array.shape}; {_SHAPES}')
    joints, dims = layout.num_joints, layout.dims
    if array.ndim == 2:
        people, channels = _split_width(array.shape[1], layout)
        array = array.reshape(len(array), people, joints, channels).swapaxes(0, 1)
    array = array[None] if array.ndim == 3 else array
    if array.shape[2] != joints:
        raise RecordingError(f'has {array.shape[2]} joints; the layout {layout.name} has {joints}')
    if array.shape[3] not in (dims, dims + 1):
        raise RecordingError(
            f'has {array.shape[3]} values a joint; the layout {layout.name} has {dims} coordinates, '
            f'or {dims + 1} values with a score'
        )
    _check_size(*array.shape[:2], array.size)
    return array


def check_sequence(
    array: np.ndarray, score: np.ndarray | None, layout: Layout
) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates and scores of a sequence, arranged and checked.

    Args:
        array: (T, V, C), (M, T, V, C) or (T, M * V * C); C has one value more than the layout's coordinates where the
            last one is a score.
        score: (T, V) or (M, T, V), or None.
        layout: of the sequence.

    Returns:
        ``keypoint`` (M, T, V, C) and ``keypoint_score`` (M, T, V) or None, float32.

    Raises:
        RecordingError: if the shape does not go with the layout or a value is not finite.
    """
    array, dims = _arrange(array, layout), layout.dims
    keypoint = _finite(array[..., :dims], layout, 'a coordinate')
    if array.shape[3] == dims:
        if score is None:
            return keypoint, None
        score = score[None] if score.ndim == 2 else score
    elif score is not None:
        raise RecordingError(
            f'has scores twice: as keypoint_score and as the last of {dims + 1} values a joint'
        )
    else:
        score = array[..., dims]
    if score.shape != keypoint.shape[:3]:
        raise RecordingError(
            f'keypoint_score has shape {score.shape}; it must be {keypoint.shape[:3]}'
        )
    return keypoint, _finite(score, layout, 'the score')


_FORMATS = {
    '.npy': (_read_npy, MAX_BYTES),
    '.npz': (_read_npz, MAX_BYTES),
    '.csv': (_read_table, MAX_TEXT),
    '.txt': (_read_table, MAX_TEXT),
    '.json': (_read_json, MAX_TEXT),
}


def read_sequence(file: SourceFile, layout: Layout) -> tuple[np.ndarray, np.ndarray | None]:
    """The people of one file.

    Args:
        file: see the head of this module.
        layout: of the file.

    Returns:
        ``keypoint`` (M, T, V, C) and ``keypoint_score`` (M, T, V) or None, float32.

    Raises:
        RecordingError: if the file is missing, damaged, too large or of another layout.
    """
    extension = os.path.splitext(file.name)[1].lower()
    if extension not in _FORMATS:
        raise RecordingError(f'has the extension {extension!r}; known are {list(_FORMATS)}')
    if not os.path.isfile(file.path):
        raise RecordingError(f'there is no file {file.path}')
    read, limit = _FORMATS[extension]
    array, score = read(file.read(limit), layout)
    return check_sequence(array, score, layout)
