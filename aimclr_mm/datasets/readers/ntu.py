"""NTU RGB+D 60 and 120 (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2019): ``.skeleton`` files.

A file is text: the number of frames; for each frame the number of bodies; for each body a line of
ten values that begins with its id, the number of joints, and one line of twelve values per joint,
of which the first three are x, y, z in meters in the camera frame. Kinect assigns a new id to a
body that it lost and may change the order of bodies, so ids do not identify people. Like mmaction2
and ST-GCN, this reader takes the n-th body of each frame as the n-th person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .base import Reader, make_annotation, match_name
from .sources import RecordingError, SourceFile
from .text import number_table, parse_text, whole_number

JOINTS = 25
DIMS = 3
VALUES = 12  # in the line of a joint
BODY_LINES = 2 + JOINTS  # the line with the id, the number of joints, the joints
MAX_BODIES = 4
MAX_FRAMES = 100_000
MAX_FRAME_BODIES = 64
MAX_FILE = 64 * 2**20  # bytes
NAME = re.compile(r'^S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})$')

# training sets of the protocols; everything else is validation
XSUB60 = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
XSUB120 = XSUB60.union(
    (45, 46, 47, 49, 50, 70, 74, 78, 89, 97, 98, 100, 103),
    range(52, 60),
    range(80, 87),
    range(91, 96),
)
XVIEW = frozenset((2, 3))
XSET = frozenset(range(2, 33, 2))


@cache
def missing() -> frozenset[str]:
    """Return the names that the authors list as lacking complete skeletons, 535 in NTU-120."""
    lines = (Path(__file__).parent / 'ntu_missing.txt').read_text(encoding='utf-8').split('\n')
    return frozenset(line for line in lines if line and not line.startswith('#'))


def read_bodies(content: bytes) -> np.ndarray:
    """Read all bodies of a ``.skeleton`` file.

    Returns:
        (M, T, 25, 3) float32, M the largest number of bodies in a frame, at most 4; zeros where a
        frame has fewer.

    Raises:
        RecordingError: if the file is damaged; the message names the line.
    """
    content = content.rstrip()
    if not content:
        raise RecordingError('is empty')
    # x, y, z, and the last value, which shows that a line is complete
    table = parse_text(content, lambda text: number_table(text, VALUES, [*range(DIMS), VALUES - 1]))
    # lines of counts have one value
    counts = np.where(np.isnan(table[:, 1]), table[:, 0], np.nan)
    frames, bodies = _find_bodies(counts.tolist())
    if not len(bodies):
        raise RecordingError('has no body in any frame')

    frame, place, first_line = bodies.T
    lines = first_line[:, None] + np.arange(JOINTS)  # (bodies, 25)
    _check_joints(table, lines)

    kept = place < MAX_BODIES
    keypoint = np.zeros((place[kept].max() + 1, frames, JOINTS, DIMS), dtype=np.float32)
    keypoint[place[kept], frame[kept]] = table[lines[kept], :DIMS]
    return keypoint


def _find_bodies(counts: list[float]) -> tuple[int, np.ndarray]:
    """Locate the bodies of a file by its counts.

    Args:
        counts: value of each line, NaN where it has several or is not a number.

    Returns:
        The number of frames, and (bodies, 3): frame, place in the frame, line of the first joint,
        all 0-based.
    """
    lines = len(counts)

    def count(line: int, name: str, low: int, high: int) -> int:
        if line >= lines:
            raise RecordingError(
                f'line {line + 1}: the file ends before the {name}; it is truncated'
            )
        return whole_number(counts[line], line + 1, name, low, high)

    frames = count(0, 'number of frames', 1, MAX_FRAMES)
    line = 1
    bodies = []
    for frame in range(frames):
        in_frame = count(line, 'number of bodies', 0, MAX_FRAME_BODIES)
        line += 1
        for place in range(in_frame):
            count(line + 1, 'number of joints', JOINTS, JOINTS)
            bodies.append((frame, place, line + 2))
            line += BODY_LINES
            if line > lines:
                raise RecordingError(
                    f'line {lines}: the file ends within frame {frame + 1} of {frames}; it is '
                    'truncated'
                )

    if line < lines:
        raise RecordingError(f'line {line + 1}: the file goes on after its {frames} frames')
    return frames, np.array(bodies, dtype=np.int64).reshape(-1, 3)


def _check_joints(table: np.ndarray, lines: np.ndarray) -> None:
    """Raise RecordingError if a line of a joint is incomplete or its coordinates are not finite."""
    lines = lines.ravel()
    incomplete = lines[np.isnan(table[lines, -1])]
    if len(incomplete):
        raise RecordingError(
            f'line {incomplete[0] + 1}: has fewer than {VALUES} values; a joint has {VALUES}'
        )

    broken = lines[~np.isfinite(table[lines, :DIMS]).all(axis=1)]
    if len(broken):
        raise RecordingError(
            f'line {broken[0] + 1}: the coordinates of a joint must be three finite numbers'
        )


def choose_bodies(keypoint: np.ndarray, rule: str) -> np.ndarray:
    """Choose the two people of a recording, or the only one.

    Args:
        keypoint: (M, T, V, 3) bodies by their place in the frame.
        rule: ``first``: the first two bodies of each frame (preprocessing of ST-GCN, which the
            numbers of the paper rest on); ``motion``: those two of the first four that move most,
            more motion first (``gen_ntu_rgbd_raw.py`` of mmaction2).

    Returns:
        (1 or 2, T, V, 3).
    """
    if rule == 'motion':
        motion = np.array([_motion(body) for body in keypoint])
        keypoint = keypoint[np.argsort(motion)[::-1]]

    chosen = keypoint[:2]
    is_alone = len(chosen) == 2 and not chosen[1].any()
    return chosen[:1] if is_alone else chosen


def _motion(body: np.ndarray) -> float:
    """Return the sum of the standard deviations of x, y, z over the non-zero frames (T, V, 3)."""
    present = body[body.reshape(len(body), -1).sum(axis=1) != 0].reshape(-1, DIMS)
    if not len(present):
        return 0.0
    return float(np.ascontiguousarray(present.T, dtype=np.float64).std(axis=1).sum())


class NTU60(Reader):
    """NTU RGB+D 60: 56,880 recordings of 60 actions, 40 subjects, 3 cameras.

    Args:
        files: files of the source.
        bodies: rule for the choice of bodies, see :func:`choose_bodies`.
    """

    name = 'ntu60'
    pattern = '*.skeleton'
    num_classes = 60
    options = ('bodies',)
    published = dict(xsub_train=40091, xsub_val=16487, xview_train=37646, xview_val=18932)
    setups = 17

    def __init__(self, files: Sequence[SourceFile], bodies: str = 'first') -> None:
        super().__init__(files)
        if bodies not in ('first', 'motion'):
            raise ValueError(f"bodies={bodies!r}; known are 'first' and 'motion'")
        self.bodies = bodies

    def recordings(self) -> list[SourceFile]:
        """Return the files, except those listed as missing and those of other setups."""
        kept = []
        for file in self.files:
            numbers = NAME.match(file.stem)
            if file.stem in missing():
                self.leave_out('listed by the authors as without complete skeletons', file.stem)
            elif numbers and int(numbers[1]) > self.setups:
                self.leave_out(
                    f'of a setup above {self.setups}, which belongs to NTU-120', file.stem
                )
            else:
                kept.append(file)
        return kept

    def read(self, recording: SourceFile) -> list[dict]:
        """Read one sequence; label, subject, camera and setup are in its name."""
        numbers = match_name(recording.stem, NAME, 'S001C001P001R001A001.skeleton').groups()
        setup, camera, subject, _, action = map(int, numbers)
        label = self.label(action)

        keypoint = choose_bodies(read_bodies(recording.read(MAX_FILE)), self.bodies)
        if not keypoint.any():
            raise RecordingError('has only zeros as coordinates')
        fields = dict(label=label, subject=subject, camera=camera, setup=setup)
        return [make_annotation(recording.stem, keypoint, **fields)]

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject and the cross-view split."""
        return [
            'xsub_train' if annotation['subject'] in XSUB60 else 'xsub_val',
            'xview_train' if annotation['camera'] in XVIEW else 'xview_val',
        ]


class NTU120(NTU60):
    """NTU RGB+D 120: 114,480 recordings of 120 actions, 106 subjects, 32 setups, with NTU-60's."""

    name = 'ntu120'
    num_classes = 120
    setups = 32
    published = dict(xsub_train=63026, xsub_val=50919, xset_train=54468, xset_val=59477)

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject and the cross-setup split."""
        return [
            'xsub_train' if annotation['subject'] in XSUB120 else 'xsub_val',
            'xset_train' if annotation['setup'] in XSET else 'xset_val',
        ]
