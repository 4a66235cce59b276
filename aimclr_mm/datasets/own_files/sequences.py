"""NumPy files of single sequences, and the check of sequences from all formats.

- ``.npy``: an array (T, V, C), (M, T, V, C), or (T, M * V * C) with the people one after the other;
- ``.npz``: such an array as ``keypoint`` (or the only one), and optionally ``keypoint_score``
  (T, V) or (M, T, V), ``img_shape`` (height, width) and ``track_ids`` (M, T).

M people, T frames, V joints; C is the number of coordinates of the layout, or one more with a
score.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from aimclr_mm.datasets.readers.sources import MAX_BYTES, RecordingError
from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.files import check_archive

from .shapes import check_size, split_width

Arrays = tuple[np.ndarray, np.ndarray | None]  # keypoints and scores
EXTRAS = ('keypoint_score', 'img_shape', 'track_ids')  # arrays next to the keypoints


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


def read_npy(content: bytes, _layout: Layout) -> dict[str, Any]:
    """Return the array of an ``.npy`` file as ``keypoint``."""
    return dict(keypoint=_load_npy(content))


def read_npz(content: bytes, _layout: Layout) -> dict[str, Any]:
    """Return the arrays of an ``.npz`` file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_archive(archive, len(content))
            names = [name.removesuffix('.npy') for name in archive.namelist()]
            others = [name for name in names if name not in EXTRAS]
            main = 'keypoint' if 'keypoint' in others else next(iter(others), '')
            if main != 'keypoint' and len(others) != 1:
                raise RecordingError(f'has arrays {sorted(others)[:5]}; it must have keypoint')

            extras = [name for name in names if name in EXTRAS]
            arrays = {name: _load_npy(_unpack(archive, f'{name}.npy')) for name in extras}
            return dict(keypoint=_load_npy(_unpack(archive, f'{main}.npy')), **arrays)
    except RecordingError:
        raise
    except Exception as error:  # noqa: BLE001  damaged archives raise errors of many kinds
        raise RecordingError(f'is not a readable .npz file ({error})') from error


def _unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > MAX_BYTES:
        raise RecordingError(f'{name} has {size} bytes; the limit is {MAX_BYTES}')
    return archive.read(name)


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
