"""PKU-MMD (Liu et al., ACM Multimedia workshops 2017), I and II: labeled intervals of videos.

The skeletons of a video are a text file ``0002-L.txt`` (part I: video and camera) or
``A01N01-L.txt`` (part II: script, subject and camera). A line is a frame of 150 numbers: x, y, z in
meters of 25 Kinect v2 joints of two bodies; an absent body is zeros. The labels are a file of the
same name in another folder with one line ``action,start,end,confidence`` per interval; in part II
the confidence may be missing. ``cross-subject.txt`` and ``cross-view.txt`` (part II:
``cross_subject_v2.txt`` and ``cross_view_v2.txt``) hold a heading and a list of training videos,
and a (misspelled) heading and a list of validation videos.

The authors do not say how frames are counted. As in the preprocessing of the released code, the
first frame is 1 and the end is inclusive; a start of 0 also means the first frame. Labels are the
action ids minus one in both parts, as in the field. The literature counts 41 actions in part II,
but its ids go up to 51, so classifiers of part II have 51 outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .base import Reader, make_annotation
from .sources import RecordingError, SourceFile
from .text import BOM, number_table, parse_text, whole_number

BODIES = 2
JOINTS = 25
ACTIONS = 51
VALUES = BODIES * JOINTS * 3  # in a line
MAX_FRAMES = 50_000  # the longest video has 8,604
MAX_FILE = 64 * 2**20  # bytes
MAX_SMALL_FILE = 64 * 2**10  # bytes; label and split files have less than 10 kB
MAX_CELLS = 16  # in a line of labels; more than four are reported with their line
CAMERAS = 'LMR'
PROTOCOLS = dict(subject='xsub', view='xview')
_SPLIT_FILE = re.compile(r'cross[-_ ]?(subject|view)', re.IGNORECASE)
_SPLIT_WORD = re.compile(r'\b(train|val|test)|(\w{1,40}-[LMR])\b', re.IGNORECASE)

FilesByVideo = dict[str, list[SourceFile]]


@dataclass(frozen=True)
class Interval:
    """A labeled interval of a video, as the label file states it.

    Args:
        labels: label file.
        line: 1-based line in the label file.
        values: action, start and end in this line, NaN where a cell is not a number.
        skeletons: skeleton file of the video.
        number: 1-based number among the intervals of the video.
        splits: names of the splits of the video.
    """

    labels: SourceFile
    line: int
    values: tuple[float, float, float]
    skeletons: SourceFile
    number: int
    splits: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.labels)


@dataclass(frozen=True)
class Unusable:
    """A file, or a line of a file, that yields no interval, and the reason."""

    file: SourceFile
    problem: str

    def __str__(self) -> str:
        return str(self.file)


def is_label_file(file: SourceFile) -> bool:
    """Return whether a file holds labels rather than skeletons.

    The first line decides: labels have commas, skeletons many numbers. For empty and damaged files
    the innermost folder whose name contains "label" or "skeleton" decides.
    """
    if file.size > MAX_SMALL_FILE:
        return False
    try:
        content = file.read(MAX_SMALL_FILE).removeprefix(BOM).strip()
    except RecordingError:
        content = b''

    first = content.partition(b'\n')[0]
    if first.isascii() and b'\0' not in first:
        if first.count(b',') >= 2:
            return True
        if len(first.split()) > 4:
            return False
    path = str(file).lower()
    return path.rfind('label') > path.rfind('skeleton')


def read_lists(content: bytes) -> dict[str, set[str]]:
    """Return the videos that a split file lists, as ``train`` and ``val``.

    Headings are recognized by the words train, val and test, as their spelling varies.
    """
    lists: dict[str, set[str]] = dict(train=set(), val=set())
    current: set[str] = set()  # videos before the first heading are ignored
    for heading, video in _SPLIT_WORD.findall(content.decode('latin1')):
        if heading:
            current = lists['train' if heading.lower() == 'train' else 'val']
        else:
            current.add(video.upper())
    return lists


def parse_video(content: bytes) -> np.ndarray:
    """Parse the frames of a skeleton file, (T, 150) float32; NaN where a cell is not a number."""
    lines = max(content.count(b'\n'), content.count(b'\r')) + 1
    if lines > MAX_FRAMES:  # even short lines take the memory of 150 numbers
        raise RecordingError(f'has {lines} lines; the limit is {MAX_FRAMES}')
    with np.errstate(over='ignore'):  # values beyond float32 become inf, which is reported like NaN
        return number_table(content, VALUES).astype(np.float32)


@lru_cache(maxsize=1)
def _load_video(file: SourceFile) -> np.ndarray | RecordingError:
    """Return the frames of the last video, or the error, which is the same for its intervals."""
    try:
        return parse_text(file.read(MAX_FILE).rstrip(), parse_video)
    except RecordingError as error:
        return error


def read_interval(interval: Interval) -> np.ndarray:
    """Read the bodies of an interval, clipped to the end of the video.

    Returns:
        (1 or 2, T, 25, 3) float32 in meters.

    Raises:
        RecordingError: if the interval is not possible, or its frames are damaged or all zeros.
    """
    line = interval.line
    start = whole_number(interval.values[1], line, 'start', 0, MAX_FRAMES)
    end = whole_number(interval.values[2], line, 'end', 0, MAX_FRAMES)
    if end <= start:
        raise RecordingError(f'line {line}: the end {end} is not after the start {start}')

    video = _load_video(interval.skeletons)
    if isinstance(video, RecordingError):
        raise RecordingError(f'line {line}: its skeletons {interval.skeletons}: {video}')
    first = max(start, 1)
    if first > len(video):
        raise RecordingError(
            f'line {line}: the start {start} is beyond the {len(video)} frames of the video'
        )

    frames = video[first - 1 : end]
    broken = np.flatnonzero(~np.isfinite(frames).all(axis=1))
    if len(broken):
        raise RecordingError(
            f'line {line}: its skeletons {interval.skeletons}: line {first + broken[0]}: a frame '
            f'needs {VALUES} finite numbers'
        )

    bodies = frames.reshape(-1, BODIES, JOINTS, 3).transpose(1, 0, 2, 3)
    bodies = bodies[: 1 + bodies[1].any()]  # as in the released code, the first keeps its place
    if not bodies.any():
        raise RecordingError(f'line {line}: no body in frames {first} to {min(end, len(video))}')
    return np.ascontiguousarray(bodies)


class PKUMMD1(Reader):
    """PKU-MMD part I: 21,545 intervals of 51 actions in 1,076 videos, 66 subjects, 3 cameras."""

    name = 'pku_mmd_v1'
    pattern = '*.txt'
    num_classes = 51
    published = dict(xsub_train=18841, xsub_val=2704, xview_train=14357, xview_val=7188)
    video = re.compile(r'^(\d{4})-([LMR])$')
    skeleton_source = '0002-L.txt ... of Skeleton.7z'
    label_source = '0002-L.txt ... of Label_PKUMMD.7z'
    split_source = 'cross-subject.txt or cross-view.txt'

    def recordings(self) -> list[Interval | Unusable]:
        """Return the labeled intervals, video by video, and the files and lines without one.

        Raises:
            ValueError: if there are no skeletons, no labels or no split file.
        """
        skeletons, labels, split_files = self._sort_files()
        self._require(skeletons, 'skeletons', self.skeleton_source)
        self._require(labels, 'labels', self.label_source)
        lists = self._read_split_files(split_files)

        found: list[Interval | Unusable] = []
        for video in sorted({*skeletons, *labels}):
            files = skeletons.get(video, []), labels.get(video, [])
            if all(len(same_kind) == 1 for same_kind in files):
                splits = tuple(split for split, videos in lists.items() if video in videos)
                found += self._read_labels(files[1][0], files[0][0], splits)
            else:
                found.append(self._mismatch(*files))
        return found

    def read(self, recording: Interval | Unusable) -> list[dict]:
        """Read the sequence of one interval."""
        if isinstance(recording, Unusable):
            raise RecordingError(recording.problem)
        video = recording.labels.stem
        action = whole_number(recording.values[0], recording.line, 'action', 1, ACTIONS)
        fields = dict(
            label=action - 1,
            camera=CAMERAS.index(video[-1]) + 1,
            splits=recording.splits,
            **self._subject(video),
        )
        name = f'{video}_{recording.number:03d}'
        return [make_annotation(name, read_interval(recording), **fields)]

    def splits(self, annotation: dict) -> Sequence[str]:
        """Return the cross-subject and cross-view splits of the split files that list the video."""
        return annotation['splits']

    def _subject(self, video: str) -> dict[str, int]:
        """Return the subject if the name of a video contains it; it does not in part I."""
        return {}

    def _require(self, files: FilesByVideo, kind: str, source: str) -> None:
        if not files:
            raise ValueError(
                f'the source holds no {kind} of {self.name}; unpack the archive of the download '
                f'and give the folder that holds them ({source})'
            )

    def _sort_files(self) -> tuple[FilesByVideo, FilesByVideo, list[SourceFile]]:
        """Return skeleton files and label files by video, and split files."""
        skeletons: FilesByVideo = {}
        labels: FilesByVideo = {}
        split_files = []
        for file in self.files:
            if self.video.match(file.stem):
                kind = labels if is_label_file(file) else skeletons
                kind.setdefault(file.stem, []).append(file)
            elif _SPLIT_FILE.search(file.stem):
                split_files.append(file)
            else:
                self.leave_out(f'not named like a video of {self.name}', file.name)
        return skeletons, labels, split_files

    def _read_split_files(self, files: list[SourceFile]) -> dict[str, set[str]]:
        """Return the videos of each split; split files of the other part are left out."""
        splits: dict[str, set[str]] = {}
        for file in files:
            lists = self._read_split_file(file)
            if not any(lists.values()):
                self.leave_out(f'split file that lists no video of {self.name}', file.name)
                continue

            protocol = PROTOCOLS[_SPLIT_FILE.search(file.stem)[1].lower()]
            for part, videos in lists.items():
                splits.setdefault(f'{protocol}_{part}', set()).update(videos)
            self._check_lists(file, lists, splits[f'{protocol}_train'] & splits[f'{protocol}_val'])

        if not splits:
            raise ValueError(
                f'the source holds no split file of {self.name}; put {self.split_source} of the '
                'download into its folder'
            )
        return splits

    def _read_split_file(self, file: SourceFile) -> dict[str, set[str]]:
        """Return the videos of this part that a split file lists, as ``train`` and ``val``."""
        try:
            lists = read_lists(file.read(MAX_SMALL_FILE))
        except RecordingError as error:
            raise ValueError(f'{file}: {error}') from error
        return {
            part: {video for video in videos if self.video.match(video)}
            for part, videos in lists.items()
        }

    @staticmethod
    def _check_lists(file: SourceFile, lists: dict[str, set[str]], shared: set[str]) -> None:
        """Raise ValueError if a list is empty or videos are in both lists."""
        if shared:
            problem = f'lists {min(shared)} for training and for validation'
        elif not lists['train']:
            problem = 'has no list of training videos'
        elif not lists['val']:
            problem = 'has no list of validation videos'
        else:
            return
        raise ValueError(f'{file}: {problem}; give one undamaged file for each protocol')

    @staticmethod
    def _mismatch(skeletons: list[SourceFile], labels: list[SourceFile]) -> Unusable:
        """Describe a video that does not have exactly one file of each kind."""
        if not skeletons or not labels:
            missing = 'label' if skeletons else 'skeleton'
            return Unusable((skeletons or labels)[0], f'has no {missing} file of its name')
        first, second = (skeletons if len(skeletons) > 1 else labels)[:2]
        return Unusable(
            second, f'is a second file of the same kind and name as {first}; give only one'
        )

    @staticmethod
    def _read_labels(
        labels: SourceFile, skeletons: SourceFile, splits: tuple[str, ...]
    ) -> Iterator[Interval | Unusable]:
        """Yield the intervals of a label file."""
        try:
            content = labels.read(MAX_SMALL_FILE)
            table = number_table(content, MAX_CELLS, range(3), separator=',')
        except RecordingError as error:
            yield Unusable(labels, str(error))
            return

        number = 0
        for line, (text, values) in enumerate(zip(content.splitlines(), table.tolist()), start=1):
            if not text.strip():
                continue
            number += 1
            if text.count(b',') > 3:
                yield Unusable(labels, f'line {line}: more than 4 values')
            else:
                yield Interval(labels, line, tuple(values), skeletons, number, splits)
        if not number:
            yield Unusable(labels, 'is empty')


class PKUMMD2(PKUMMD1):
    """PKU-MMD part II: 6,945 intervals of 41 actions in 1,009 videos, 13 subjects, 3 cameras."""

    name = 'pku_mmd_v2'
    num_classes = 41
    published = dict(xsub_train=5332, xsub_val=1613)
    video = re.compile(r'^A\d{2}N(\d{2})-([LMR])$')
    skeleton_source = 'A01N01-L.txt ... of Skeleton_v2.7z'
    label_source = 'A01N01-L.txt ... of Label_PKUMMD_v2.7z'
    split_source = 'cross_subject_v2.txt or cross_view_v2.txt'

    def _subject(self, video: str) -> dict[str, int]:
        """Return the number after N, which numbers the 13 subjects: the split file goes by it."""
        return dict(subject=int(self.video.match(video)[1]))
