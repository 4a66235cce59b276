"""Prepared folders of the released code of AimCLR and CrosSCLR, with preprocessed sequences.

A folder such as ``ntu60_frame50`` holds one folder per benchmark (``xsub``, ``xview``, ``xset``)
with ``train_position.npy``, ``train_label.pkl``, ``val_position.npy`` and ``val_label.pkl``.
Positions are (N, 3, T, 25, 2) float32, T = 50. Labels are a pickled pair of lists: the N names
(``S001C001P001R001A001.skeleton``) and the N classes, 0-based. In the released code
``feeder/preprocess_ntu.py`` writes the positions and ``tools/ntu_gendata.py`` the labels, often to
different folders; both may be given as sources.
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

from .base import Reader, make_annotation
from .ntu import NAME
from .pose_pickle import published_counts
from .sources import RecordingError, SourceFile

JOINTS = 25
PEOPLE = 2
DIMS = 3
ENDING = '.skeleton'
BENCHMARK = re.compile(r'\w[\w.-]*')
POSITIONS = 'position.npy'
LABELS = 'label.pkl'

# folders with known names are benchmarks wherever they are: folder -> benchmark
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
    """A row of a positions file.

    Args:
        path: path of the file.
        stamp: its modification time in ns.
        split: split that the file holds.
        index: 0-based row.
    """

    path: str
    stamp: int
    split: str
    index: int

    def load(self) -> np.ndarray:
        """Return the positions (3, T, 25, 2) float32."""
        return open_positions(self.path, self.stamp)[self.index]


@dataclass(frozen=True)
class ReleasedSequence:
    """A sequence and all rows that hold it.

    Args:
        name: name in the labels file.
        labels: label in the labels file of each row.
        rows: one row for each split of the sequence.
    """

    name: str
    labels: tuple
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        return f'{self.rows[0].path}: row {self.rows[0].index} ({self.name})'


@lru_cache(maxsize=16)
def open_positions(path: str, _stamp: int) -> np.ndarray:
    """Map a positions file into memory.

    Returns:
        (N, 3, T, 25, 2) float32.

    Raises:
        ValueError: if the file is damaged or holds something else.
    """
    try:
        positions = np.lib.format.open_memmap(path, mode='r')
    except Exception as error:  # noqa: BLE001  damaged headers raise errors of many kinds
        raise ValueError(
            f'{path!r} is not a readable .npy file ({error}); download it again'
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
    """Read the names and labels of a labels file."""
    content = read_pickle(path)
    is_pair = isinstance(content, (tuple, list)) and len(content) == 2
    if not is_pair or not all(map(_is_column, content)):
        raise ValueError(f'{path!r} does not hold a pair (names, labels)')

    names, labels = map(list, content)
    wrong = [name for name in names if not isinstance(name, str) or name in ('', ENDING)]
    if wrong:
        raise ValueError(f'{path!r} has {wrong[0]!r} among its names; they must be text')
    if len(names) != len(labels):
        raise ValueError(f'{path!r} has {len(names)} names but {len(labels)} labels')
    return names, labels


def _is_column(column: Any) -> bool:
    is_vector = isinstance(column, np.ndarray) and column.ndim == 1
    return is_vector or isinstance(column, (tuple, list))


class ReleasedReader(Reader):
    """Prepared folders of the released code: NTU-60, NTU-120 and PKU-MMD.

    Args:
        files: files of the source; only positions and labels are used.
        benchmark: name of the benchmark (``xsub`` makes ``xsub_train`` and ``xsub_val``), for files
            at the top of the source whose folder has another name.
    """

    name = 'official'
    options = ('benchmark',)
    preprocessed = True
    file_pattern = re.compile(r'^(train|val)_(position\.npy|label\.pkl)$')
    file_names = f'train_{POSITIONS} or val_{POSITIONS}'
    longest: int | None = 299  # frames; those of 2s-AGCN are padded to 300 and not preprocessed

    def __init__(self, files: Sequence[SourceFile], benchmark: str | None = None) -> None:
        super().__init__(files)
        if benchmark is not None and not BENCHMARK.fullmatch(benchmark):
            raise ValueError(
                f'benchmark={benchmark!r} cannot be part of a split name; give one such as xsub'
            )
        self.benchmark = benchmark

    def recordings(self) -> list[ReleasedSequence]:
        """Return every sequence once, with its rows in all benchmarks, in the order of the files.

        A second occurrence of a name in a file is a recording of its own, which is refused later.
        """
        found: dict[str, list[tuple[Row, Any]]] = {}
        duplicates = []
        for split, files in self._pairs().items():
            for name, label, row in self._rows(split, files):
                places = found.setdefault(name, [])
                if any(other.split == split for other, _ in places):
                    duplicates.append(ReleasedSequence(name, (label,), (row,)))
                else:
                    places.append((row, label))

        sequences = []
        for name, places in found.items():
            rows, labels = zip(*places)
            sequences.append(ReleasedSequence(name, labels, rows))
        sequences += duplicates
        self._set_published(sequences)
        return sequences

    def _set_published(self, sequences: list[ReleasedSequence]) -> None:
        """Set the published counts if classes and splits are those of NTU-60 or NTU-120."""
        labels = [label for item in sequences for label in item.labels if is_whole(label)]
        classes = 1 + max(labels, default=-1)
        splits = {row.split for item in sequences for row in item.rows}
        self.published = published_counts(classes, splits)
        self.num_classes = classes if self.published else None

    def read(self, recording: ReleasedSequence) -> list[dict]:
        """Read one sequence; a second person with only zeros is left out."""
        label = recording.labels[0]
        if not is_whole(label):
            raise RecordingError(f'its label is {label!r}; it must be a whole number from 0')
        positions = recording.rows[0].load()
        self._check_equal(recording, positions)

        keypoint = np.ascontiguousarray(positions.transpose(3, 1, 2, 0))  # (2, T, 25, 3)
        if not keypoint[1].view(np.uint32).any():  # bitwise, to keep -0.0 for the export
            keypoint = keypoint[:1]
        name = recording.name.removesuffix(ENDING)
        annotation = make_annotation(
            name,
            keypoint,
            sample_name=recording.name,
            label=int(label),
            rows={row.split: row.index for row in recording.rows},
        )
        numbers = NAME.match(name)
        if numbers:
            annotation.update(zip(('setup', 'camera', 'subject'), map(int, numbers.groups())))
        return [annotation]

    @staticmethod
    def _check_equal(recording: ReleasedSequence, positions: np.ndarray) -> None:
        """Raise RecordingError if the rows of a sequence differ in label or positions."""
        label = recording.labels[0]
        for row, other_label in zip(recording.rows[1:], recording.labels[1:]):
            if not is_whole(other_label) or other_label != label:
                raise RecordingError(
                    f'its label is {label}, but {other_label!r} in {row.split}, row {row.index}'
                )
            other = row.load()
            if other.shape != positions.shape or other.tobytes() != positions.tobytes():
                raise RecordingError(
                    f'row {row.index} of {row.path!r} has the same name but other positions; '
                    'convert the benchmarks one by one'
                )

    def splits(self, annotation: dict) -> list[str]:
        """Return the splits whose files contain the sequence."""
        return list(annotation['rows'])

    def _pairs(self) -> dict[str, dict[str, SourceFile]]:
        """Return the positions and the labels file of each split."""
        pairs: dict[str, dict[str, SourceFile]] = {}
        for file in self.files:
            match = self.file_pattern.match(os.path.basename(file.name))
            if not match:
                continue
            if file.archived:
                raise ValueError(
                    f'{file} is in an archive, where it cannot be mapped into memory; unpack it '
                    'first'
                )
            part = match[1].replace('test', 'val')
            kind = LABELS if match[2] == LABELS else POSITIONS
            split = f'{self._find_benchmark(file)}_{part}'
            other = pairs.setdefault(split, {}).setdefault(kind, file)
            if other is not file:
                raise ValueError(
                    f'both {other} and {file} are for split {split}; give the folder of one data '
                    'set'
                )

        pairs = {split: files for split, files in pairs.items() if POSITIONS in files}
        if not pairs:
            raise ValueError(
                f'the source holds no {self.file_names}; give the folder with xsub, xview or xset '
                'of the prepared data (such as ntu60_frame50)'
            )
        return pairs

    def _find_benchmark(self, file: SourceFile) -> str:
        """Return the benchmark of a file."""
        folder = os.path.basename(os.path.dirname(os.path.abspath(file.path)))
        if self.benchmark:
            return self.benchmark
        if folder in _FOLDERS:
            return _FOLDERS[folder]
        if '/' not in file.name or not BENCHMARK.fullmatch(folder):
            raise ValueError(
                f'{file}: its folder {folder!r} does not name the benchmark; give --benchmark xsub '
                '(or xview, xset)'
            )
        return folder

    def _rows(self, split: str, files: dict[str, SourceFile]) -> Iterator[tuple[str, Any, Row]]:
        """Yield name, label and row of each sequence of a split."""
        position = files[POSITIONS]
        if LABELS not in files:
            raise ValueError(
                f'{position} has no {LABELS} with its names; tools/ntu_gendata.py of the released '
                'code writes it to a folder of its own: give that folder as a second source, or '
                'copy the file'
            )
        positions = open_positions(position.path, position.stamp)
        frames = positions.shape[2]
        if self.longest is not None and frames > self.longest:
            raise ValueError(
                f'{position} has {frames} frames a sequence: it is padded, as 2s-AGCN prepares '
                'NTU, and not preprocessed; convert it by tools/prepare_data.py padded'
            )
        names, labels = _read_labels(files[LABELS].path)
        if len(names) != len(positions):
            raise ValueError(
                f'{position} has {len(positions)} sequences, but {files[LABELS]} has {len(names)}; '
                'the two do not belong together'
            )
        for index, (name, label) in enumerate(zip(names, labels)):
            yield name, label, Row(position.path, position.stamp, split, index)
