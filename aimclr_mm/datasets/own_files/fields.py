"""Annotation fields from the file of one sequence.

The formats are those of :mod:`.sequences`, and ``.pkl``: the output of mmaction2's pose extraction
for a video, a dict with ``keypoint`` (M, T, V, C) and optionally ``keypoint_score`` (M, T, V) and
``img_shape`` (height, width).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from aimclr_mm.datasets.readers.sources import RecordingError, SourceFile
from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.pickles import parse_pickle

from .sequences import check_sequence, read_sequence


def read_fields(file: SourceFile, layout: Layout) -> dict[str, Any]:
    """Read the annotation fields of one file.

    Args:
        file: file of one sequence.
        layout: joint layout of the file.

    Returns:
        ``keypoint``, ``total_frames`` and, where known, ``keypoint_score`` and ``img_shape``
        (height, width in pixels).

    Raises:
        RecordingError: if the file is missing, damaged, too large or of another layout.
    """
    if file.name.lower().endswith('.pkl'):
        return _read_pickle(file, layout)
    return as_fields(*read_sequence(file, layout))


def as_fields(keypoint: np.ndarray, score: np.ndarray | None) -> dict[str, Any]:
    """Return the fields of keypoints (M, T, V, C) and scores (M, T, V) or None."""
    fields = dict(keypoint=keypoint, total_frames=keypoint.shape[1])
    if score is not None:
        fields['keypoint_score'] = score
    return fields


def _read_pickle(file: SourceFile, layout: Layout) -> dict[str, Any]:
    if not os.path.isfile(file.path):
        raise RecordingError(f'file {file.path} does not exist')
    content = file.read()
    try:
        data = parse_pickle(content)
    except ValueError as error:
        raise RecordingError(str(error)) from error

    data = data if isinstance(data, dict) else {}
    keypoint = data.get('keypoint')
    score = data.get('keypoint_score')
    if not _is_numeric(keypoint) or not (score is None or _is_numeric(score)):
        raise RecordingError(
            "must be a dict with arrays 'keypoint' (people, frames, joints, channels) and "
            "optionally 'keypoint_score', as mmaction2's pose extraction writes for a video"
        )

    fields = as_fields(*check_sequence(keypoint, score, layout))
    size = data.get('img_shape')
    if size is not None:
        if not _is_image_size(size):
            raise RecordingError(
                f'img_shape is {str(size)[:40]}; it must be the height and the width in pixels'
            )
        fields['img_shape'] = tuple(size)
    return fields


def _is_numeric(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in 'fiu'


def _is_image_size(size: Any) -> bool:
    return (
        isinstance(size, (tuple, list))
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
    )
