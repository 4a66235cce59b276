"""Annotation files in mmaction2's pose format, read without running code from the file.

Format: a pickled dict with ``split`` (name of a split -> list of sequence names) and ``annotations``, a list of dicts
with ``frame_dir`` (name), ``keypoint`` (M, T, V, C), ``total_frames`` and, where known, ``label`` (int) and
``keypoint_score`` (M, T, V).
"""
from __future__ import annotations

import math
import os
import pickle
import re
from collections import OrderedDict
from typing import Any

import numpy as np

from aimclr_mm.files import atomic_write


class _DType:
    """A NumPy dtype as a pickle describes it. NumPy's own would let a damaged file corrupt memory."""

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r'[?biufcSU]\d*', name):
            raise pickle.UnpicklingError(f'it holds an array of {name!r}; only numbers and text are read')
        self.value = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ('<', '>'):
            self.value = self.value.newbyteorder(state[1])


class _Array:
    """An array in the making; :func:`_finish` puts the NumPy array in its place."""

    value: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, 'F' if fortran else 'C')


def _array(content: bytes | str, dtype: _DType, shape: tuple, order: str) -> np.ndarray:
    if isinstance(content, str):                    # how Python 2 wrote bytes
        content = content.encode('latin1')
    size = math.prod(shape)
    if len(content) != size * dtype.value.itemsize:
        raise pickle.UnpicklingError(f'an array of shape {shape} has {len(content)} bytes')
    return np.ndarray(shape, dtype.value, bytes(content), order=order).copy(order='K')


def _scalar(dtype: _DType, content: bytes | str) -> np.generic:
    return _array(content, dtype, (), 'C')[()]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it holds bytes in the encoding {encoding!r}')
    return text.encode('latin1')


def _finish(value: Any) -> Any:
    """The value with every :class:`_Array` replaced, in containers too."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _finish(item) for key, item in value.items()}
    return type(value)(map(_finish, value)) if type(value) in (list, tuple) else value


_SAFE = {
    ('collections', 'OrderedDict'): OrderedDict, ('_codecs', 'encode'): _encode,
    ('numpy', 'ndarray'): np.ndarray, ('numpy', 'dtype'): _DType,
    **{(module, kind.__name__): kind
       for module in ('builtins', '__builtin__')
       for kind in (dict, list, tuple, set, frozenset, int, float, bool, str, bytes, bytearray, complex, slice)},
    **{(f'numpy.{core}.{module}', name): kind
       for core in ('core', '_core')
       for module, name, kind in (('multiarray', '_reconstruct', lambda *_: _Array()),
                                  ('multiarray', 'scalar', _scalar), ('numeric', '_frombuffer', _array))},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits NumPy arrays and plain containers only; no code of another library runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE:
            raise pickle.UnpicklingError(f'it refers to {module}.{name}; only NumPy arrays and plain containers are '
                                         'read')
        return _SAFE[module, name]


def read_pickle(path: str) -> Any:
    """Unpickles arrays and plain containers; anything else in the file is refused before it can run.

    Raises:
        ValueError: if the file is damaged, no pickle, or refers to other objects.
    """
    try:
        with open(path, 'rb') as file:
            return _finish(_ArrayUnpickler(file).load())
    except OSError:
        raise
    except Exception as error:      # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(f'{path!r} is no readable annotation file ({error})') from error


def write_pickle(content: Any, path: str) -> None:
    """Writes an annotation file as a whole or not at all."""
    with atomic_write(path, 'wb') as file:
        pickle.dump(content, file, protocol=4)


def require_file(path: str, hint: str = '') -> None:
    """Raises FileNotFoundError, with the hint how to make it, if there is no such annotation file."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f'annotation file {path!r} does not exist. {hint}'.strip())


def load_annotations(path: str, hint: str = '') -> dict:
    """Reads an annotation file and checks its structure.

    Args:
        path: the file.
        hint: how to make the file, for the message when it is missing.

    Returns:
        dict with ``split`` (possibly empty) and ``annotations``.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it cannot be read or lacks what the format demands.
    """
    require_file(path, hint)
    data = read_pickle(path)
    if isinstance(data, list):
        data = dict(split={}, annotations=data)
    if not isinstance(data, dict) or not isinstance(data.get('annotations'), list):
        raise ValueError(f"{path!r} is not in mmaction2's pose format: it needs a list 'annotations'")
    splits = data.setdefault('split', {})
    if not isinstance(splits, dict):
        raise ValueError(f"{path!r}: 'split' must map names of splits to lists of sequence names")
    for split, names in splits.items():
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ValueError(f'{path!r}: split {split!r} is no list of names of sequences')
    if not isinstance(data.setdefault('metainfo', {}), dict):
        raise ValueError(f"{path!r}: 'metainfo' must be a dict")
    return data


def check_annotation(annotation: Any, path: str, num_joints: int | None = None) -> None:
    """Raises ValueError if one annotation lacks a field or its keypoints have another shape than they should.

    Args:
        annotation: the annotation.
        path: file it comes from, for the message.
        num_joints: V that the layout of the config has; None accepts any.
    """
    if not isinstance(annotation, dict):
        raise ValueError(f'{path!r}: an annotation is a {type(annotation).__name__}, not a dict')
    name = annotation.get('frame_dir', annotation.get('filename'))
    if name is None:
        raise ValueError(f"{path!r}: an annotation has no 'frame_dir' (its name)")
    shape = getattr(annotation.get('keypoint'), 'shape', None)
    if shape is None or len(shape) != 4 or 0 in shape or shape[-1] not in (2, 3):
        raise ValueError(f"{path!r}: 'keypoint' of {name!r} has shape {shape}; it must be an array "
                         '(people, frames, joints, 2 or 3) without an empty axis')
    if num_joints is not None and shape[2] != num_joints:
        raise ValueError(f'{path!r}: {name!r} has {shape[2]} joints, but the layout of the config has {num_joints}; '
                         'set layout to that of the data')
