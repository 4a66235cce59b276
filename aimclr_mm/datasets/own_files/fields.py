"""What the file of a single sequence tells of an annotation.

The files are those of :mod:`.custom_files`, and ``.pkl``: what mmaction2's pose extraction writes for a video, a dict
with ``keypoint`` (M, T, V, C) and perhaps ``keypoint_score`` (M, T, V) and ``img_shape`` (height, width).
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
    """The fields that one file tells.

    Args:
        file: of one sequence.
        layout: of the file.

    Returns:
        ``keypoint``, ``total_frames`` and, where known, ``keypoint_score`` and ``img_shape`` (height, width in pixels).

    Raises:
        RecordingError: if the file is missing, damaged, too large or of another layout.
    """
    if file.name.lower().endswith('.pkl'):
        return _pickled_fields(file, layout)
    return as_fields(*read_sequence(file, layout))


def as_fields(keypoint: np.ndarray, score: np.ndarray | None) -> dict[str, Any]:
    """The same of keypoints (M, T, V, C) and scores (M, T, V), if there are any."""
    scores = {} if score is None else dict(keypoint_score=score)
    return dict(keypoint=keypoint, total_frames=keypoint.shape[1], **scores)


def _pickled_fields(file: SourceFile, layout: Layout) -> dict[str, Any]:
    if not os.path.isfile(file.path):
        raise RecordingError(f'there is no file {file.path}')
    content = file.read()
    try:
        data = parse_pickle(content)
    except ValueError as error:
        raise RecordingError(str(error)) from error
    arrays = (
        [data.get(name) for name in ('keypoint', 'keypoint_score')]
        if isinstance(data, dict)
        else [None, None]
    )
    if (
        not isinstance(arrays[0], np.ndarray)
        or not isinstance(arrays[1], (np.ndarray, type(None)))
        or any(array is not None and array.dtype.kind not in 'fiu' for array in arrays)
    ):
        raise RecordingError(
            "must be a dict with arrays 'keypoint' (people, frames, joints, channels) and perhaps "
            "'keypoint_score', as mmaction2's pose extraction writes for a video"
        )
    fields, size = as_fields(*check_sequence(*arrays, layout)), data.get('img_shape')
    if size is not None:
        if (
            not isinstance(size, (tuple, list))
            or len(size) != 2
            or not all(type(n) is int and n > 0 for n in size)
        ):
            raise RecordingError(
                f'img_shape is {str(size)[:40]}; it must be the height and the width in pixels'
            )
        fields['img_shape'] = tuple(size)
    return fields
