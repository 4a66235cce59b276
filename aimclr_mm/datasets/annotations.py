"""Annotation files in mmaction2's pose format, read without running code from the file.

Format: a pickled dict with ``split`` (name of a split -> list of sequence names) and
``annotations``, a list of dicts with ``frame_dir`` (name), ``keypoint`` (M, T, V, C),
``total_frames`` and, where known, ``label`` (int) and ``keypoint_score`` (M, T, V).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from aimclr_mm.skeletons import LAYOUTS, Layout, get_layout, map_layout, mapped_dims
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.pickles import read_pickle


def write_pickle(content: Any, path: str) -> None:
    """Write an annotation file atomically."""
    with atomic_write(path, 'wb') as file:
        pickle.dump(content, file, protocol=4)


def require_file(path: str, hint: str = '') -> None:
    """Raise FileNotFoundError, with a hint how to make the annotation file, if it is missing.

    Raise IsADirectoryError if it is a folder.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(f'annotation file {path!r} is a folder; give a file')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'annotation file {path!r} does not exist. {hint}'.strip())


def load_annotations(path: str, hint: str = '') -> dict:
    """Read an annotation file and check its structure.

    Args:
        path: the file.
        hint: how to make the file, for the message when it is missing.

    Returns:
        dict with ``split`` and ``metainfo`` (possibly empty) and ``annotations``.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it cannot be read or does not have the format.
    """
    require_file(path, hint)
    data = read_pickle(path)
    if isinstance(data, list):
        data = dict(annotations=data)
    elif isinstance(data, dict) and 'keypoint' in data:
        data = dict(annotations=[data])  # one video, as mmaction2's pose extraction writes it

    if not isinstance(data, dict) or not isinstance(data.get('annotations'), list):
        raise ValueError(
            f"{path!r} is not in mmaction2's pose format: it needs a list 'annotations'"
        )
    if not isinstance(data.setdefault('metainfo', {}), dict):
        raise ValueError(f"{path!r}: 'metainfo' must be a dict")
    _check_splits(data.setdefault('split', {}), path)
    return data


def _check_splits(splits: Any, path: str) -> None:
    """Raise ValueError unless splits map names to lists of sequence names."""
    if not isinstance(splits, dict):
        raise ValueError(f"{path!r}: 'split' must map names of splits to lists of sequence names")
    for split, names in splits.items():
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ValueError(f'{path!r}: split {split!r} is not a list of sequence names')


def stated_layout(metainfo: Mapping, path: str) -> Layout | None:
    """Return the layout that an annotation file states, None if it states none.

    Args:
        metainfo: ``metainfo`` of the file.
        path: the file, for the message.

    Raises:
        ValueError: if the layout is not known.
    """
    stated = metainfo.get('layout')
    if stated is None:
        return None

    # get_layout would read a path, which an untrusted file must not give
    known = isinstance(stated, Mapping) or isinstance(stated, str) and stated in LAYOUTS
    if not known:
        raise ValueError(
            f'{path!r} has an unknown layout {stated!r}; known are {list(LAYOUTS)} '
            "and mappings with a layout's fields"
        )
    return get_layout(stated)


def check_mapping(source: Layout, target: Layout) -> None:
    """Raise ValueError if sequences of one layout cannot be mapped to another."""
    dims = source.dims if source.joints == target.joints else mapped_dims(source, target)
    for layout in (source, target):
        if layout.dims != dims:
            raise ValueError(
                f'layout {layout.name!r} has {layout.dims} coordinates, but {source.name!r} is '
                f'mapped to {target.name!r} in {dims}; 2-D landmarks of MediaPipe have the layout '
                'mediapipe33_2d'
            )


def map_annotation(annotation: dict, source: Layout, target: Layout) -> dict:
    """Return an annotation with keypoints and scores mapped to another layout.

    Args:
        annotation: with ``keypoint`` (M, T, V, C) and optionally ``keypoint_score`` (M, T, V).
        source, target: see :func:`aimclr_mm.skeletons.map_layout`.

    Raises:
        ValueError: see :func:`check_mapping`.
    """
    check_mapping(source, target)
    score = annotation.get('keypoint_score')
    if score is None:
        return dict(annotation, keypoint=map_layout(annotation['keypoint'], source, target))

    joined = np.concatenate([annotation['keypoint'], score[..., None]], axis=-1)
    mapped = map_layout(joined, source, target)
    return dict(annotation, keypoint=mapped[..., :-1], keypoint_score=mapped[..., -1])


def structure_defect(annotation: Any, num_joints: int | None = None) -> str:
    """Return which field an annotation lacks or how its keypoints are misshapen; empty if valid.

    Args:
        annotation: the annotation.
        num_joints: V of the layout of the config; None accepts any.
    """
    if not isinstance(annotation, dict):
        return f'an annotation is a {type(annotation).__name__}, not a dict'

    name = annotation.get('frame_dir', annotation.get('filename'))
    if name is None:
        return "an annotation has no 'frame_dir' (its name)"

    shape = getattr(annotation.get('keypoint'), 'shape', None)
    if shape is None or len(shape) != 4 or 0 in shape or shape[-1] not in (2, 3):
        return (
            f"'keypoint' of {str(name)!r} has shape {shape}; it must be an array "
            '(people, frames, joints, 2 or 3) without an empty axis'
        )
    if num_joints is not None and shape[2] != num_joints:
        return (
            f'{str(name)!r} has {shape[2]} joints, but the layout of the config has {num_joints}; '
            'set layout to that of the data'
        )
    return ''


def check_annotation(annotation: Any, path: str, num_joints: int | None = None) -> None:
    """Raise ValueError if an annotation has a defect of structure.

    Args:
        annotation, num_joints: see :func:`structure_defect`.
        path: the file, for the message.
    """
    if defect := structure_defect(annotation, num_joints):
        raise ValueError(f'{path!r}: {defect}')
