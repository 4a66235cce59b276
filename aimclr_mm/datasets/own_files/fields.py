"""Annotation fields from the file of one sequence, in any of the formats.

================================  ================================================================
``.npy``, ``.npz``                see :mod:`.sequences`
``.csv``, ``.tsv``, ``.txt``      a table of numbers, see :mod:`.tables`
``.json``                         an array, or the output of a pose estimator, see :mod:`.pose_json`
folder of ``*_keypoints.json``    OpenPose, one file a frame
``.pkl``                          the output of mmaction2's pose extraction for a video: a dict with
                                  ``keypoint`` (M, T, V, C) and optionally ``keypoint_score``
                                  (M, T, V) and ``img_shape`` (height, width)
``.bvh``                          motion capture, see :mod:`.bvh`
``.skeleton``, ``.mat``           recordings in the format of NTU RGB+D and of UTD-MHAD
================================  ================================================================

Text formats may be compressed (``.csv.gz``).
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimclr_mm.datasets.readers.ntu import read_bodies
from aimclr_mm.datasets.readers.sources import (
    MAX_BYTES,
    RecordingError,
    SourceFile,
    check_unpacked,
)
from aimclr_mm.datasets.readers.utd_mhad import read_skeleton
from aimclr_mm.skeletons import KINECT20, NTU25, Layout
from aimclr_mm.utils.pickles import parse_pickle

from .bvh import read_bvh
from .people import put_in_rows
from .pose_json import read_frame_files, read_json
from .sequences import check_sequence, read_npy, read_npz
from .shapes import MAX_FRAMES, MAX_TEXT
from .tables import read_table

FRAME_ENDING = '_keypoints.json'  # one frame of OpenPose
ZIPPED = '.gz'


@dataclass(frozen=True)
class Format:
    """Format of a file with one sequence.

    Args:
        read: function of the content and the layout that returns ``keypoint`` and maybe
            ``keypoint_score``, ``img_shape`` and ``track_ids``.
        limit: largest size in bytes.
        layout: layout of all files in this format, None if they may have any.
    """

    read: Callable[[bytes, Layout], Mapping[str, Any]]
    limit: int = MAX_TEXT
    layout: Layout | None = None


@dataclass(frozen=True)
class FrameFiles:
    """A folder with one file of OpenPose per frame, which is one recording.

    Args:
        path: the folder.
        name: name of the folder relative to the source.
        files: its files in the order of their names.
    """

    path: str
    name: str
    files: tuple[SourceFile, ...]

    @property
    def stem(self) -> str:
        """Name without folders."""
        return os.path.basename(self.name)

    @property
    def folder(self) -> str:
        """Name of the folder that contains it; empty at the top of the source."""
        return os.path.basename(os.path.dirname(self.name))

    def __str__(self) -> str:
        return self.path


Recording = SourceFile | FrameFiles


def _read_pickle(content: bytes, _layout: Layout) -> Mapping[str, Any]:
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
    return data


def _read_ntu(content: bytes, _layout: Layout) -> Mapping[str, Any]:
    return dict(keypoint=read_bodies(content))


def _read_utd(content: bytes, _layout: Layout) -> Mapping[str, Any]:
    return dict(keypoint=read_skeleton(content))


FORMATS: dict[str, Format] = {
    '.npy': Format(read_npy, MAX_BYTES),
    '.npz': Format(read_npz, MAX_BYTES),
    '.csv': Format(read_table),
    '.tsv': Format(read_table),
    '.txt': Format(read_table),
    '.json': Format(read_json),
    '.pkl': Format(_read_pickle, MAX_BYTES),
    '.bvh': Format(read_bvh),
    '.skeleton': Format(_read_ntu, layout=NTU25),
    '.mat': Format(_read_utd, MAX_BYTES, layout=KINECT20),
}
TEXT_FORMATS = tuple(name for name, form in FORMATS.items() if form.limit == MAX_TEXT)
EXTENSIONS = (*FORMATS, *(name + ZIPPED for name in TEXT_FORMATS))


def split_extension(name: str) -> tuple[str, str]:
    """Return a name without its extension, and the extension in lower case without ``.gz``."""
    stem, extension = os.path.splitext(name)
    if extension.lower() == ZIPPED:
        stem, extension = os.path.splitext(stem)
    return stem, extension.lower()


def layout_of(file: Recording) -> Layout | None:
    """Return the layout that the format of a file tells, None if it tells none."""
    form = FORMATS.get(split_extension(file.name)[1])
    return form.layout if form and isinstance(file, SourceFile) else None


def group_frames(files: Iterable[SourceFile]) -> list[Recording]:
    """Return the recordings of a source: files of OpenPose in one folder are one recording.

    Folders take the place of their first file. Files with other extensions are left out.
    """
    recordings: dict[str, list[SourceFile]] = {}
    for file in files:
        if file.name.lower().endswith(FRAME_ENDING):
            folder = os.path.dirname(file.name) or '.'
            recordings.setdefault(f'{folder}/', []).append(file)
        elif file.name.lower().endswith(EXTENSIONS):
            recordings[file.name] = [file]
    return [
        _frame_files(group) if key.endswith('/') else group[0] for key, group in recordings.items()
    ]


def other_formats(files: Iterable[SourceFile]) -> dict[str, list[str]]:
    """Return extension -> names of the files that :func:`group_frames` leaves out."""
    others: dict[str, list[str]] = {}
    for file in files:
        if not file.name.lower().endswith(EXTENSIONS):
            extension = os.path.splitext(file.name)[1].lower()
            others.setdefault(extension, []).append(file.name)
    return others


def _frame_files(files: list[SourceFile]) -> FrameFiles:
    first = files[0]
    path = first.path if first.archived else os.path.dirname(first.path) or '.'
    name = os.path.dirname(first.name) or os.path.basename(os.path.abspath(path))
    return FrameFiles(path, name, tuple(sorted(files, key=lambda file: file.name)))


def frame_folder(path: str, name: str) -> FrameFiles | None:
    """Return the recording in a folder of OpenPose's files, None if there are none."""
    names = sorted(n for n in os.listdir(path) if n.lower().endswith(FRAME_ENDING))
    files = [SourceFile.of(os.path.join(path, n), f'{name}/{n}') for n in names]
    return _frame_files(files) if files else None


def read_fields(file: Recording, layout: Layout) -> dict[str, Any]:
    """Read the annotation fields of one recording.

    Args:
        file: file of one sequence, or the files of its frames.
        layout: joint layout of the file.

    Returns:
        ``keypoint`` (M, T, V, C) float32, NaN for missing values, ``total_frames`` and, where
        known, ``keypoint_score`` (M, T, V), ``img_shape`` (height, width in pixels; 1, 1 for
        fractions of the picture) and ``track_ids`` (M, T), negative where unknown. Each person
        has one row, see :mod:`.people`; ``reordered`` is the number of frames where the file has
        another order.

    Raises:
        RecordingError: if the file is missing, damaged, too large or of another layout.
    """
    if isinstance(file, FrameFiles):
        return put_in_rows(as_fields(_read_frames(file, layout), layout))

    if os.path.isdir(file.path):
        raise RecordingError(f'is a folder that holds no files *{FRAME_ENDING}, one per frame')
    extension = split_extension(file.name)[1]
    if extension not in FORMATS or not file.name.lower().endswith(EXTENSIONS):
        raise RecordingError(f'has the extension {extension!r}; known are {list(EXTENSIONS)}')
    if not os.path.isfile(file.path):
        raise RecordingError(f'file {file.path} does not exist')

    form = FORMATS[extension]
    if form.layout is not None and form.layout.joints != layout.joints:
        raise RecordingError(
            f'has the joints of layout {form.layout.name}, like all {extension} files; give this '
            'layout, and --map-to for another one'
        )
    return put_in_rows(as_fields(form.read(_content(file, form.limit), layout), layout))


def _read_frames(folder: FrameFiles, layout: Layout) -> dict[str, Any]:
    """Return the arrays of a folder of OpenPose's files."""
    files = folder.files
    if len(files) > MAX_FRAMES or sum(file.size for file in files) > 16 * MAX_TEXT:
        raise RecordingError(
            f'has {len(files)} files of frames, which are more than {16 * MAX_TEXT} bytes or '
            f'{MAX_FRAMES} files'
        )
    names = [os.path.basename(file.name) for file in files]
    videos = sorted(set(map(_video, names)))
    if len(videos) > 1:
        raise RecordingError(
            f'has the frames of {len(videos)} videos ({", ".join(map(repr, videos[:5]))}); move '
            'those of each into a folder of its own'
        )
    return read_frame_files((file.read(MAX_TEXT) for file in files), names, layout)


def _video(name: str) -> str:
    """Return the name of the video in the name of one frame: what is around its number."""
    stem = name[: -len(FRAME_ENDING)]
    match = re.match(r'(.*?)[\W_]*\d+(\D*)$', stem)
    return match[1] + match[2] if match else ''


def _content(file: SourceFile, limit: int) -> bytes:
    """Return the content of a file, unpacked."""
    content = file.read(limit)
    if not file.name.lower().endswith(ZIPPED):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            unpacked = packed.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(f'is not a readable .gz file ({error})') from error
    check_unpacked(len(unpacked), len(content))
    if len(unpacked) > limit:
        raise RecordingError(f'has more than {limit} bytes when it is unpacked')
    return unpacked


def as_fields(arrays: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return the checked annotation fields of arrays, see :func:`read_fields`.

    Args:
        arrays: ``keypoint`` and maybe ``keypoint_score``, in a shape that
            :func:`~.sequences.check_sequence` permits, ``img_shape`` and ``track_ids``.
        layout: joint layout.
    """
    keypoint, score = check_sequence(arrays['keypoint'], arrays.get('keypoint_score'), layout)
    fields = dict(keypoint=keypoint, total_frames=keypoint.shape[1])
    if score is not None:
        fields['keypoint_score'] = score
    if arrays.get('img_shape') is not None:
        fields['img_shape'] = image_size(arrays['img_shape'])

    tracks = arrays.get('track_ids')
    if tracks is not None:
        tracks = np.asarray(tracks)
        tracks = tracks[None] if tracks.ndim == 1 else tracks
        if tracks.dtype.kind not in 'iu' or tracks.shape != keypoint.shape[:2]:
            raise RecordingError(
                f'track_ids are {tracks.dtype} of shape {tracks.shape}; they must be whole '
                f'numbers of shape {keypoint.shape[:2]}'
            )
        fields['track_ids'] = tracks
    return fields


def zero_missing(annotation: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation with zeros, mmaction2's mark of a missing joint, instead of NaN."""
    result = {key: value for key, value in annotation.items() if key != 'track_ids'}
    missing = np.isnan(result['keypoint']).any(axis=-1)
    result['keypoint'] = np.where(missing[..., None], np.float32(0), result['keypoint'])
    if 'keypoint_score' in result:
        score = result['keypoint_score']
        result['keypoint_score'] = np.where(missing | np.isnan(score), np.float32(0), score)
    return result


def image_size(size: Any) -> tuple[int, int]:
    """Return the checked size of a picture, (height, width).

    Raises:
        RecordingError: if it is not two whole numbers above 0.
    """
    sides = size.tolist() if isinstance(size, np.ndarray) else size
    is_pair = isinstance(sides, (tuple, list)) and len(sides) == 2
    if not is_pair or not all(_is_side(side) for side in sides):
        raise RecordingError(
            f'img_shape is {str(size)[:40]}; it must be the height and the width in pixels'
        )
    return int(sides[0]), int(sides[1])


def _is_side(side: Any) -> bool:
    is_number = isinstance(side, (int, float)) and not isinstance(side, bool)
    return is_number and 0 < side < 1e6 and side == int(side)


def _is_numeric(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in 'fiu'
