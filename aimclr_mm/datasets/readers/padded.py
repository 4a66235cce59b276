"""NTU RGB+D as other projects prepare it: arrays in which all sequences have the same length.

- 2s-AGCN and its followers (also MS-G3D, ST-GCN): ``train_data_joint.npy`` or ``train_data.npy``,
  (N, 3, 300, 25, 2), and ``train_label.pkl`` with names and labels, in folders ``xsub`` and
  ``xview``. Shorter sequences are repeated from their beginning, or padded with zeros.
- CTR-GCN and its followers (InfoGCN, HD-GCN): ``NTU60_CS.npz`` with ``x_train`` (N, T, 150),
  one-hot ``y_train``, ``x_test`` and ``y_test``. Shorter sequences are padded with zeros; there are
  no names.

Both move and turn the skeletons, but neither centers each frame nor resizes the clips, so the
preprocessing of the paper still has to be applied.
"""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .base import make_annotation
from .pose_pickle import published_counts
from .released import BENCHMARK, DIMS, JOINTS, PEOPLE, ReleasedReader, ReleasedSequence
from .sources import RecordingError, SourceFile

VALUES = PEOPLE * JOINTS * DIMS  # of a frame in an .npz file
PARTS = dict(train='train', test='val')
HEADER = 30  # bytes of a local file header in a zip archive, before name and extra field

_BENCHMARKS = dict(CS='xsub', CV='xview', CSub='xsub', CSet='xset', XSub='xsub', XSet='xset')
_NPZ_NAME = re.compile(r'(?:^|_)(CSub|CSet|CS|CV|XSub|XSet)$', re.IGNORECASE)


@dataclass(frozen=True)
class NpzSequence:
    """A row of an ``.npz`` file.

    Args:
        path: path of the file.
        stamp: its modification time in ns.
        part: ``train`` or ``test``, in the names of the arrays.
        split: split of the sequence.
        index: 0-based row.
    """

    path: str
    stamp: int
    part: str
    split: str
    index: int

    @property
    def name(self) -> str:
        """Name made from the part and the row; the file has none."""
        return f'{self.part}_{self.index:06d}'

    def __str__(self) -> str:
        return f'{self.path}: row {self.index} of x_{self.part}'


@lru_cache(maxsize=8)
def open_member(path: str, name: str, _stamp: int) -> np.ndarray:
    """Map an array of an ``.npz`` file into memory.

    Raises:
        ValueError: if the array is missing, compressed or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, open(path, 'rb') as file:
            member = archive.getinfo(f'{name}.npy')
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError('it is compressed; load it and save it by numpy.savez')
            file.seek(member.header_offset)
            header = file.read(HEADER)
            file.seek(int.from_bytes(header[26:28], 'little'), os.SEEK_CUR)
            file.seek(int.from_bytes(header[28:30], 'little'), os.SEEK_CUR)

            version = np.lib.format.read_magic(file)
            readers = {(1, 0): 'read_array_header_1_0', (2, 0): 'read_array_header_2_0'}
            shape, is_fortran, dtype = getattr(np.lib.format, readers[version])(file)
            if dtype.kind not in 'fiu':
                raise ValueError(f'it holds {dtype}, not numbers')
            order = 'F' if is_fortran else 'C'
            return np.memmap(path, dtype, 'r', file.tell(), shape, order)
    except Exception as error:  # noqa: BLE001  damaged archives raise errors of many kinds
        raise ValueError(f'{path!r}: array {name} cannot be read ({error})') from error


def trim(keypoint: np.ndarray) -> np.ndarray:
    """Return a sequence (M, T, V, C) without its padding.

    Padding is frames of zeros at the end, or the repetition of a person from the first frame on.
    """
    return keypoint[:, : max(map(_length, keypoint))]


def _length(person: np.ndarray) -> int:
    """Return the number of frames of a person (T, V, C) without padding; at least 1."""
    frames = np.flatnonzero(person.any(axis=(1, 2)))
    if not len(frames):
        return 1
    person = person[: frames[-1] + 1]
    repeats = np.flatnonzero((person == person[0]).all(axis=(1, 2)))[1:]
    periods = (period for period in repeats if np.array_equal(person[period:], person[:-period]))
    return int(next(periods, len(person)))


class PaddedReader(ReleasedReader):
    """NTU RGB+D as 2s-AGCN (``train_data_joint.npy``) or CTR-GCN (``NTU60_CS.npz``) prepare it.

    Args:
        files: files of the source: folders as those of 2s-AGCN, or one ``.npz`` file.
        benchmark: see :class:`~.released.ReleasedReader`.
    """

    name = 'padded'
    preprocessed = False
    file_pattern = re.compile(
        r'^(train|val|test)_((?:data|data_joint|joint_data|position)\.npy|label\.pkl)$'
    )
    file_names = 'train_data_joint.npy or val_data_joint.npy'
    longest = None

    def recordings(self) -> list[ReleasedSequence] | list[NpzSequence]:
        """Return every sequence once."""
        archives = [file for file in self.files if file.name.lower().endswith('.npz')]
        if not archives:
            return super().recordings()
        if len(archives) > 1 or archives[0].archived:
            raise ValueError(
                f'the source holds {len(archives)} .npz files, or a packed one; give one file'
            )
        return self._npz_rows(archives[0])

    def read(self, recording: ReleasedSequence | NpzSequence) -> list[dict]:
        """Read one sequence without its padding; a second person with only zeros is left out."""
        if isinstance(recording, NpzSequence):
            return [self._read_row(recording)]
        (annotation,) = super().read(recording)
        keypoint = trim(annotation['keypoint'])
        return [dict(annotation, keypoint=keypoint, total_frames=keypoint.shape[1])]

    def _npz_rows(self, file: SourceFile) -> list[NpzSequence]:
        match = _NPZ_NAME.search(file.stem)
        known = {name.lower(): benchmark for name, benchmark in _BENCHMARKS.items()}
        benchmark = self.benchmark or (match and known[match[1].lower()])
        if not benchmark or not BENCHMARK.fullmatch(benchmark):
            raise ValueError(
                f'{file}: its name does not tell the benchmark (NTU60_CS, NTU60_CV, NTU120_CSub, '
                'NTU120_CSet); give --benchmark xsub (or xview, xset)'
            )

        rows = []
        classes = 0
        for part, split in PARTS.items():
            x = open_member(file.path, f'x_{part}', file.stamp)
            y = open_member(file.path, f'y_{part}', file.stamp)
            if x.ndim != 3 or x.shape[2] != VALUES or y.ndim != 2 or len(x) != len(y):
                raise ValueError(
                    f'{file}: x_{part} has shape {x.shape} and y_{part} {y.shape}; they must be '
                    f'(N, frames, {VALUES}) and (N, classes)'
                )
            classes = max(classes, y.shape[1])
            rows += [
                NpzSequence(file.path, file.stamp, part, f'{benchmark}_{split}', index)
                for index in range(len(x))
            ]
        self.published = published_counts(classes, {row.split for row in rows})
        self.num_classes = classes if self.published else None
        return rows

    @staticmethod
    def _read_row(row: NpzSequence) -> dict:
        values = open_member(row.path, f'x_{row.part}', row.stamp)[row.index]
        one_hot = open_member(row.path, f'y_{row.part}', row.stamp)[row.index]
        if np.count_nonzero(one_hot) != 1:
            raise RecordingError(
                f'its label has {np.count_nonzero(one_hot)} numbers other than 0; it must have one'
            )
        keypoint = np.asarray(values, dtype=np.float32).reshape(-1, PEOPLE, JOINTS, DIMS)
        keypoint = trim(np.ascontiguousarray(keypoint.swapaxes(0, 1)))
        if not keypoint[1].any():
            keypoint = keypoint[:1]
        label = int(np.argmax(one_hot))
        return make_annotation(row.name, keypoint, label=label, rows={row.split: row.index})
