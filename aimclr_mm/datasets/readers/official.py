"""The prepared folders of AimCLR's and CrosSCLR's authors, which hold the sequences after the paper's preprocessing.

A folder such as ``ntu60_frame50`` holds one folder for each benchmark (``xsub``, ``xview``, ``xset``), and that
``train_position.npy``, ``train_label.pkl``, ``val_position.npy`` and ``val_label.pkl``. Positions are (N, 3, T, 25, 2)
float32, T = 50; labels are a pickled pair of lists, the N names (``S001C001P001R001A001.skeleton``) and the N classes
from 0. The authors' tools write the positions in ``feeder/preprocess_ntu.py`` and the labels in
``tools/ntu_gendata.py``, and many keep the two in different folders; both may be given as sources.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.checks import is_whole

from .base import Reader
from .ntu import NAME
from .pose_pickle import published_counts
from .sources import RecordingError, SourceFile

JOINTS, PEOPLE, DIMS = 25, 2, 3
ENDING = '.skeleton'
_FILE = re.compile(r'^(train|val)_(position\.npy|label\.pkl)$')
BENCHMARK = re.compile(r'\w[\w.-]*')
# folders that are known to be benchmarks wherever they lie, and what their splits are called
_FOLDERS = dict(
    xsub='xsub',
    xview='xview',
    xset='xset',
    xsetup='xset',
    cross_subject='xsub',
    cross_view='xview',
    cross_setup='xset',
)


@dataclass(frozen=True)
class Row:
    """A place in a positions file.

    Args:
        path: the file.
        stamp: time of its last change in ns.
        split: the split that it holds.
        index: the row.
    """

    path: str
    stamp: int
    split: str
    index: int


@dataclass(frozen=True)
class Recording:
    """A sequence and all its places.

    Args:
        name: as it stands in the labels file.
        labels: what the labels file says for each of the rows.
        rows: one for each split that the sequence belongs to.
    """

    name: str
    labels: tuple
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        return f'{self.rows[0].path}: row {self.rows[0].index} ({self.name})'


@lru_cache(maxsize=16)
def open_positions(path: str, _stamp: int) -> np.ndarray:
    """A positions file, mapped into memory and not read.

    Returns:
        (N, 3, T, 25, 2) float32.

    Raises:
        ValueError: if it is damaged or holds something else.
    """
    try:
        positions = np.lib.format.open_memmap(path, mode='r')
    except Exception as error:  # noqa: BLE001  damaged headers raise errors of many kinds
        raise ValueError(
            f'{path!r} is no readable .npy file ({error}); download it again'
        ) from error
    shape = positions.shape
    if len(shape) != 5 or 0 in shape or (shape[1], *shape[3:]) != (DIMS, JOINTS, PEOPLE):
        raise ValueError(
            f'{path!r} has shape {shape}; positions are (N, {DIMS}, frames, {JOINTS}, {PEOPLE})'
        )
    if positions.dtype != np.float32:
        raise ValueError(f'{path!r} holds {positions.dtype}; positions are float32')
    return positions


def _read_labels(path: str) -> tuple[list[str], list]:
    """Names and labels of a labels file."""
    content = read_pickle(path)
    if (
        not isinstance(content, (tuple, list))
        or len(content) != 2
        or not all(
            isinstance(column, (tuple, list)) or isinstance(column, np.ndarray) and column.ndim == 1
            for column in content
        )
    ):
        raise ValueError(f'{path!r} holds no pair (names, labels)')
    names, labels = map(list, content)
    wrong = [name for name in names if not isinstance(name, str) or name in ('', ENDING)]
    if wrong:
        raise ValueError(f'{path!r} has {wrong[0]!r} among its names; they must be text')
    if len(names) != len(labels):
        raise ValueError(f'{path!r} has {len(names)} names but {len(labels)} labels')
    return names, labels


class Official(Reader):
    """Prepared folders of NTU-60, NTU-120 and PKU-MMD.

    Args:
        files: of the source; others than positions and labels are ignored.
        benchmark: name of the benchmark (``xsub`` makes ``xsub_train`` and ``xsub_val``), for files that lie directly
            in the source where the folder's name does not tell.
    """

    name, options, preprocessed = 'official', ('benchmark',), True

    def __init__(self, files: Sequence[SourceFile], benchmark: str | None = None) -> None:
        super().__init__(files)
        if benchmark is not None and not BENCHMARK.fullmatch(benchmark):
            raise ValueError(
                f'benchmark={benchmark!r} cannot be part of a name of a split; give one such as xsub'
            )
        self.benchmark = benchmark

    def recordings(self) -> list[Recording]:
        """Every sequence once, with its places in all benchmarks, in the order of the files.

        A name that comes twice in one file makes two recordings, of which the second will be refused.
        """
        found: dict[str, list[tuple[Row, Any]]] = {}
        again = []
        for split, files in self._pairs().items():
            for name, label, row in self._rows(split, files):
                places = found.setdefault(name, [])
                if any(other.split == split for other, _ in places):
                    again.append(Recording(name, (label,), (row,)))
                else:
                    places.append((row, label))
        recordings = [
            Recording(name, tuple(label for _, label in places), tuple(row for row, _ in places))
            for name, places in found.items()
        ] + again
        classes = 1 + max(
            (label for r in recordings for label in r.labels if is_whole(label)), default=-1
        )
        self.published = published_counts(
            classes, {row.split for r in recordings for row in r.rows}
        )
        self.num_classes = classes if self.published else None
        return recordings

    def read(self, recording: Recording) -> list[dict]:
        """One sequence; a second person who is nothing but zeros is left out."""
        name, label = recording.name, recording.labels[0]
        if not is_whole(label):
            raise RecordingError(f'its label is {label!r}; it must be a whole number from 0')
        first = open_positions(recording.rows[0].path, recording.rows[0].stamp)[
            recording.rows[0].index
        ]
        for row, other_label in zip(recording.rows[1:], recording.labels[1:]):
            other = open_positions(row.path, row.stamp)[row.index]
            if not is_whole(other_label) or other_label != label:
                raise RecordingError(
                    f'its label is {label}, but {other_label!r} in {row.split}, row {row.index}'
                )
            if other.shape != first.shape or other.tobytes() != first.tobytes():
                raise RecordingError(
                    f'row {row.index} of {row.path!r} has the same name but other positions; convert '
                    'the benchmarks one by one'
                )
        keypoint = np.ascontiguousarray(first.transpose(3, 1, 2, 0))  # (2, T, 25, 3)
        if not keypoint[1].view(np.uint32).any():  # by its bits: -0.0 must come back
            keypoint = keypoint[:1]
        annotation = dict(
            frame_dir=name.removesuffix(ENDING),
            sample_name=name,
            label=int(label),
            keypoint=keypoint,
            total_frames=keypoint.shape[1],
            rows={row.split: row.index for row in recording.rows},
        )
        numbers = NAME.match(annotation['frame_dir'])
        if numbers:
            annotation.update(zip(('setup', 'camera', 'subject'), map(int, numbers.groups())))
        return [annotation]

    def splits(self, annotation: dict) -> list[str]:
        """Those in whose files the sequence is."""
        return list(annotation['rows'])

    def _pairs(self) -> dict[str, dict[str, SourceFile]]:
        """Split -> its two files by their endings."""
        pairs: dict[str, dict[str, SourceFile]] = {}
        for file in self.files:
            match = _FILE.match(os.path.basename(file.name))
            if not match:
                continue
            if file.archived:
                raise ValueError(
                    f'{file} lies in an archive, where it cannot be read piece by piece; unpack it first'
                )
            split = f'{self._benchmark(file)}_{match[1]}'
            other = pairs.setdefault(split, {}).setdefault(match[2], file)
            if other is not file:
                raise ValueError(
                    f'both {other} and {file} are for split {split}; give the folder of one data set'
                )
        if not any('position.npy' in files for files in pairs.values()):
            raise ValueError(
                'the source holds no train_position.npy or val_position.npy; give the folder with xsub, '
                "xview or xset of the authors' prepared data (such as ntu60_frame50)"
            )
        return {split: files for split, files in pairs.items() if 'position.npy' in files}

    def _benchmark(self, file: SourceFile) -> str:
        """The benchmark that a file belongs to."""
        folder = os.path.basename(os.path.dirname(os.path.abspath(file.path)))
        if self.benchmark:
            return self.benchmark
        if folder in _FOLDERS:
            return _FOLDERS[folder]
        if '/' not in file.name or not BENCHMARK.fullmatch(folder):
            raise ValueError(
                f'{file}: its folder {folder!r} does not tell the benchmark; say it with --benchmark xsub '
                '(or xview, xset)'
            )
        return folder

    @staticmethod
    def _rows(split: str, files: dict[str, SourceFile]) -> Iterator[tuple[str, Any, Row]]:
        """Name, label and place of each sequence of a split."""
        position = files['position.npy']
        if 'label.pkl' not in files:
            raise ValueError(
                f"{position} has no label.pkl with its names; the authors' tools/ntu_gendata.py writes it "
                'to its own folder: give that folder as a second source, or copy the file'
            )
        positions = open_positions(position.path, position.stamp)
        names, labels = _read_labels(files['label.pkl'].path)
        if len(names) != len(positions):
            raise ValueError(
                f'{position} has {len(positions)} sequences, but {files["label.pkl"]} has {len(names)}; '
                'the two do not belong together'
            )
        for index, (name, label) in enumerate(zip(names, labels)):
            yield name, label, Row(position.path, position.stamp, split, index)
