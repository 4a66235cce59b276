"""PKU-MMD (Liu et al., ACM Multimedia workshops 2017), parts I and II: long videos, cut at their labelled intervals.

The skeletons of a video are a text file ``0002-L.txt`` (part I: video and camera) or ``A01N01-L.txt`` (part II:
script, subject and camera). A line is a frame: 150 numbers, x, y, z in metres of 25 Kinect v2 joints of two bodies; a
body that is not there is zeros. The labels are a file of the same name in another folder, a line for each interval:
``action,start,end,confidence``; in part II the confidence may be missing. ``cross-subject.txt``, ``cross-view.txt``
(part II: ``cross_subject_v2.txt``, ``cross_view_v2.txt``) hold a heading and a list of training videos, and a
(misspelt) heading and a list of validation videos.

The authors do not say how frames are counted. As in the preprocessing of AimCLR's authors the first frame is 1 and the
end belongs to the interval; starts of 0 exist and mean the first frame. Labels are the authors' action ids less one in
both parts, as in the field. Part II, in which the literature counts 41 actions, has ids up to 51 too, so that its
classifiers have 51 outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .base import Reader
from .sources import RecordingError, SourceFile
from .text import number_table, parse_text, whole_number

BODIES, JOINTS, ACTIONS = 2, 25, 51
VALUES = BODIES * JOINTS * 3  # in a line
MAX_FRAMES = 50_000  # the longest video has 8,604
MAX_FILE = 64 * 2**20
MAX_SMALL_FILE = 64 * 2**10  # bytes; label and split files have less than 10 kB
MAX_CELLS = 16  # in a line of labels, to find the one that has more than four
CAMERAS = 'LMR'
_SPLIT_FILE = re.compile(r'cross[-_ ]?(subject|view)', re.IGNORECASE)
_SPLIT_WORD = re.compile(r'\b(train|val|test)|(\w{1,40}-[LMR])\b', re.IGNORECASE)


@dataclass(frozen=True)
class Interval:
    """A labelled interval of a video, known by the label file.

    Args:
        labels: label file.
        line: 1-based line in it.
        values: action, start and end as they stand there; NaN for what is no number.
        skeletons: skeleton file of the video.
        number: 1-based number among the intervals of the video.
        splits: names of the splits that the video belongs to.
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
    """A file, or a line of one, that yields no interval, and what is wrong with it."""

    file: SourceFile
    problem: str

    def __str__(self) -> str:
        return str(self.file)


def is_label_file(file: SourceFile) -> bool:
    """Tells labels from skeletons by content, and files that are empty or damaged by the innermost folder that says."""
    if file.size > MAX_SMALL_FILE:
        return False
    try:
        first = file.read(MAX_SMALL_FILE).removeprefix(b'\xef\xbb\xbf').strip().partition(b'\n')[0]
    except RecordingError:
        first = b''
    if first.isascii() and b'\0' not in first:
        if first.count(b',') >= 2:
            return True
        if len(first.split()) > 4:
            return False
    place = str(file).lower()
    return place.rfind('label') > place.rfind('skeleton')


def read_lists(content: bytes) -> dict[str, set[str]]:
    """The videos that a split file lists, as ``train`` and ``val``, whatever its headings look like."""
    lists: dict[str, set[str]] = dict(train=set(), val=set())
    current: set[str] = set()  # what stands before the first heading is in no list
    for heading, video in _SPLIT_WORD.findall(content.decode('latin1')):
        if heading:
            current = lists['train' if heading.lower() == 'train' else 'val']
        else:
            current.add(video.upper())
    return lists


def parse_video(content: bytes) -> np.ndarray:
    """The frames (T, 150) float32 of a skeleton file with single blanks; NaN where there is no number."""
    lines = max(content.count(b'\n'), content.count(b'\r')) + 1
    if lines > MAX_FRAMES:  # lines take the memory of 150 numbers, however short they are
        raise RecordingError(f'has {lines} lines; the limit is {MAX_FRAMES}')
    with np.errstate(over='ignore'):  # infinite, which is reported like NaN
        return number_table(content, VALUES).astype(np.float32)


@lru_cache(maxsize=1)
def _video(file: SourceFile) -> np.ndarray | RecordingError:
    """The frames of the video that was asked for last. An error is kept as well: it is the same for each interval."""
    try:
        return parse_text(file.read(MAX_FILE).rstrip(), parse_video)
    except RecordingError as error:
        return error


def read_interval(interval: Interval) -> np.ndarray:
    """The bodies (1 or 2, T, 25, 3) float32 of an interval, clipped to the video.

    Raises:
        RecordingError: if the interval is not possible, or its frames are damaged or all zeros.
    """
    _, start, end = interval.values
    start = whole_number(start, interval.line, 'start', 0, MAX_FRAMES)
    end = whole_number(end, interval.line, 'end', 0, MAX_FRAMES)
    if end <= start:
        raise RecordingError(f'line {interval.line}: the end {end} is not after the start {start}')
    video = _video(interval.skeletons)
    if isinstance(video, RecordingError):
        raise RecordingError(f'line {interval.line}: its skeletons {interval.skeletons}: {video}')
    first = max(start, 1)
    if first > len(video):
        raise RecordingError(
            f'line {interval.line}: the start {start} is beyond the {len(video)} frames of the video'
        )
    frames = video[first - 1 : end]
    broken = np.flatnonzero(~np.isfinite(frames).all(axis=1))
    if len(broken):
        raise RecordingError(
            f'line {interval.line}: its skeletons {interval.skeletons}: line {first + broken[0]}: '
            f'a frame needs {VALUES} finite numbers'
        )
    bodies = frames.reshape(-1, BODIES, JOINTS, 3).transpose(1, 0, 2, 3)
    bodies = bodies[: 1 + bodies[1].any()]  # the first keeps its place, as with the authors
    if not bodies.any():
        raise RecordingError(
            f'line {interval.line}: no body in frames {first} to {min(end, len(video))}'
        )
    return np.ascontiguousarray(bodies)


class PKUMMD1(Reader):
    """PKU-MMD part I: 21,545 intervals of 51 actions in 1,076 videos, 66 subjects, 3 cameras."""

    name, pattern, num_classes = 'pku_mmd_v1', '*.txt', 51
    published = dict(xsub_train=18841, xsub_val=2704, xview_train=14357, xview_val=7188)
    video = re.compile(r'^(\d{4})-([LMR])$')
    skeleton_source, label_source = (
        '0002-L.txt ... of Skeleton.7z',
        '0002-L.txt ... of Label_PKUMMD.7z',
    )
    split_source = 'cross-subject.txt or cross-view.txt'

    def recordings(self) -> list[Interval | Unusable]:
        """The labelled intervals, video by video, and what yields none.

        Raises:
            ValueError: if there are no skeletons, no labels or no split file.
        """
        skeletons, labels, split_files = self._sort_files()
        for files, kind, source in (
            (skeletons, 'skeletons', self.skeleton_source),
            (labels, 'labels', self.label_source),
        ):
            if not files:
                raise ValueError(
                    f'the source holds no {kind} of {self.name}; unpack the archive of the download and '
                    f'give the folder that holds them ({source})'
                )
        lists = self._split_lists(split_files)
        found: list[Interval | Unusable] = []
        for video in sorted({*skeletons, *labels}):
            files = skeletons.get(video, []), labels.get(video, [])
            splits = tuple(split for split, videos in lists.items() if video in videos)
            if all(len(same) == 1 for same in files):
                found += self._intervals(files[1][0], files[0][0], splits)
            else:
                found.append(self._mismatch(*files))
        return found

    def read(self, recording: Interval | Unusable) -> list[dict]:
        """The sequence of one interval."""
        if isinstance(recording, Unusable):
            raise RecordingError(recording.problem)
        video = recording.labels.stem
        action = whole_number(recording.values[0], recording.line, 'action', 1, ACTIONS)
        keypoint = read_interval(recording)
        return [
            dict(
                frame_dir=f'{video}_{recording.number:03d}',
                label=action - 1,
                keypoint=keypoint,
                total_frames=keypoint.shape[1],
                camera=CAMERAS.index(video[-1]) + 1,
                splits=recording.splits,
                **self._subject(video),
            )
        ]

    def splits(self, annotation: dict) -> Sequence[str]:
        """Cross-subject and cross-view where the split file is there and lists the video."""
        return annotation['splits']

    def _subject(self, video: str) -> dict[str, int]:
        """The subject where the name of a video tells; it does not in part I."""
        return {}

    def _sort_files(
        self,
    ) -> tuple[dict[str, list[SourceFile]], dict[str, list[SourceFile]], list[SourceFile]]:
        """Skeleton and label files by video, and split files."""
        skeletons: dict[str, list[SourceFile]] = {}
        labels: dict[str, list[SourceFile]] = {}
        split_files = []
        for file in self.files:
            if self.video.match(file.stem):
                (labels if is_label_file(file) else skeletons).setdefault(file.stem, []).append(
                    file
                )
            elif _SPLIT_FILE.search(file.stem):
                split_files.append(file)
            else:
                self.leave_out(f'not named like a video of {self.name}', file.name)
        return skeletons, labels, split_files

    def _split_lists(self, files: list[SourceFile]) -> dict[str, set[str]]:
        """The videos of each split. Split files that list no video of this part belong to the other one."""
        splits: dict[str, set[str]] = {}
        for file in files:
            try:
                lists = read_lists(file.read(MAX_SMALL_FILE))
            except RecordingError as error:
                raise ValueError(f'{file}: {error}') from error
            lists = {
                part: {v for v in videos if self.video.match(v)} for part, videos in lists.items()
            }
            if not any(lists.values()):
                self.leave_out(f'split file that lists no video of {self.name}', file.name)
                continue
            protocol = dict(subject='xsub', view='xview')[_SPLIT_FILE.search(file.stem)[1].lower()]
            train, val = (splits.setdefault(f'{protocol}_{part}', set()) for part in lists)
            train |= lists['train']
            val |= lists['val']
            if train & val or not lists['train'] or not lists['val']:
                wrong = (
                    f'lists {min(train & val)} for training and for validation'
                    if train & val
                    else f'has no list of {"validation" if lists["train"] else "training"} videos'
                )
                raise ValueError(f'{file}: {wrong}; give one undamaged file for each protocol')
        if not splits:
            raise ValueError(
                f'the source holds no split file of {self.name}; put {self.split_source} of the download '
                'into its folder'
            )
        return splits

    @staticmethod
    def _mismatch(skeletons: list[SourceFile], labels: list[SourceFile]) -> Unusable:
        """What is wrong with a video that has not one file of each kind."""
        if not skeletons or not labels:
            return Unusable(
                (skeletons or labels)[0],
                f'has no {"label" if skeletons else "skeleton"} file of its name',
            )
        first, second = (skeletons if len(skeletons) > 1 else labels)[:2]
        return Unusable(
            second, f'is a second file of the same kind and name as {first}; give only one'
        )

    @staticmethod
    def _intervals(
        labels: SourceFile, skeletons: SourceFile, splits: tuple[str, ...]
    ) -> Iterator[Interval | Unusable]:
        """The lines of a label file."""
        try:
            content = labels.read(MAX_SMALL_FILE)
            table = number_table(content, MAX_CELLS, [0, 1, 2], separator=',')
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

    name, num_classes = 'pku_mmd_v2', 41
    published = dict(xsub_train=5332, xsub_val=1613)
    video = re.compile(r'^A\d{2}N(\d{2})-([LMR])$')
    skeleton_source, label_source = (
        'A01N01-L.txt ... of Skeleton_v2.7z',
        'A01N01-L.txt ... of Label_PKUMMD_v2.7z',
    )
    split_source = 'cross_subject_v2.txt or cross_view_v2.txt'

    def _subject(self, video: str) -> dict[str, int]:
        """Number after N: the split file divides the videos by it, and it counts the 13 subjects."""
        return dict(subject=int(self.video.match(video)[1]))
