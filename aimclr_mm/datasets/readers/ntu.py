"""NTU RGB+D 60 and 120 (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2019): the original ``.skeleton`` files.

A file is text: the number of frames; for each frame the number of bodies; for each body a line of ten values that
begins with its id, the number of joints, and a line of twelve values for each of the 25 joints, of which the first
three are x, y, z in metres in the camera's frame. Kinect gives a body a new id when it loses it, and the order of
the bodies may change, so that ids are no help in following people: like both of the field's readers, this one takes a
person to be the n-th body of each frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .base import Reader, match_name
from .decimals import leading_cells, plain_decimals
from .sources import RecordingError, SourceFile
from .text import number_table, whole_number

JOINTS, VALUES, MAX_BODIES = 25, 12, 4
MAX_FRAMES, MAX_FRAME_BODIES = 100_000, 64
MAX_FILE = 64 * 2**20
BLOCK = 2000  # lines that are parsed at once
NAME = re.compile(r'^S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})$')

# training sets of the protocols; everything else is validation
XSUB60 = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
XSUB120 = XSUB60 | {
    45,
    46,
    47,
    49,
    50,
    *range(52, 60),
    70,
    74,
    78,
    *range(80, 87),
    89,
    *range(91, 96),
    97,
    98,
    100,
    103,
}
XVIEW = frozenset((2, 3))
XSET = frozenset(range(2, 33, 2))


@cache
def missing() -> frozenset[str]:
    """Names of the recordings that the authors list as without (complete) skeletons, 535 in NTU-120."""
    lines = (Path(__file__).parent / 'ntu_missing.txt').read_text(encoding='utf-8').split('\n')
    return frozenset(line for line in lines if line and not line.startswith('#'))


BODY_LINES = 2 + JOINTS  # the line with the id, the number of joints, the joints
INFO_BLANKS, JOINT_BLANKS = (
    9,
    VALUES - 1,
)  # between the cells of the line with the id, and of a joint
ONE_DIGIT = frozenset(b'%d' % number for number in range(1, 10))


def _lines(content: bytes) -> np.ndarray:
    """(lines + 1,): where each line begins, and where the one after the last would."""
    breaks = np.flatnonzero(np.frombuffer(content, np.uint8) == ord('\n')) + 1
    last = [] if content.endswith(b'\n') else [len(content) + 1]
    return np.concatenate([[0], breaks, last]).astype(np.int64)


def _number(cell: bytes) -> float:
    """A number that stands alone, NaN if it is none."""
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _equal_frames(content: bytes, starts: np.ndarray) -> tuple[int, np.ndarray] | None:
    """:func:`_body_rows` at once, for a file whose frames all hold the same number of bodies; None for any other."""
    head = content[:80].split()
    if len(starts) < 3 or len(head) < 2 or not head[0].isdigit() or head[1] not in ONE_DIGIT:
        return None
    frames, bodies = int(head[0]), int(head[1])
    stride = 1 + bodies * BODY_LINES
    if frames < 1 or frames * stride != len(starts) - 2:
        return None
    frame, place = np.divmod(np.arange(frames * bodies), bodies)
    first = 2 + frame * stride + place * BODY_LINES + 2
    text, lengths = np.frombuffer(content, np.uint8), np.diff(starts)
    counts, numbers = np.arange(1, 1 + frames * stride, stride), first - 1
    same = (
        (text[starts[counts]] == ord(head[1])).all()
        and (lengths[counts] == lengths[1]).all()
        and (lengths[numbers] == lengths[1] + 1).all()
        and content[starts[1] : starts[2]].strip() == head[1]
    )
    joints = str(JOINTS).encode()
    if not same or any(
        (text[starts[numbers] + i] != digit).any() for i, digit in enumerate(joints)
    ):
        return None
    return frames, np.stack([frame, place, first], axis=1)


def _body_rows(content: bytes, starts: np.ndarray) -> tuple[int, np.ndarray]:
    """Walks through the counts of a file.

    Args:
        content: the file.
        starts: of its lines.

    Returns:
        The number of frames, and (bodies, 3): frame, place in the frame, first line of the joints.
    """
    lines, starts = len(starts) - 1, starts.tolist()

    def count(row: int, what: str, low: int, high: int) -> int:
        if row >= lines:
            raise RecordingError(
                f'line {row + 1}: the file ends where the {what} should stand; it is truncated'
            )
        return whole_number(
            _number(content[starts[row] : starts[row + 1]]), row + 1, what, low, high
        )

    frames, row, bodies = count(0, 'number of frames', 1, MAX_FRAMES), 1, []
    for frame in range(frames):
        in_frame = count(row, 'number of bodies', 0, MAX_FRAME_BODIES)
        row += 1
        for place in range(in_frame):
            count(row + 1, 'number of joints', JOINTS, JOINTS)
            if row + BODY_LINES > lines:
                raise RecordingError(
                    f'line {lines}: the file ends within frame {frame + 1} of {frames}; it is '
                    'truncated'
                )
            bodies.append((frame, place, row + 2))
            row += BODY_LINES
    if content[starts[row] :].strip():
        raise RecordingError(f'line {row + 1}: the file goes on after its {frames} frames')
    return frames, np.array(bodies, dtype=np.int64).reshape(-1, 3)


def _plain_joints(content: bytes, starts: np.ndarray, bodies: np.ndarray) -> np.ndarray | None:
    """:func:`_joints` at once for a file whose cells are plain decimals between single blanks; None for any other."""
    text = np.frombuffer(content, np.uint8)
    if np.count_nonzero(text == ord(' ')) != len(bodies) * (INFO_BLANKS + JOINTS * JOINT_BLANKS):
        return None
    joints = np.empty((3, len(bodies) * JOINTS))
    firsts = starts[_joint_rows(bodies)]
    for block in range(0, len(firsts), BLOCK):  # what fits into the processor's cache
        cells = leading_cells(text, firsts[block : block + BLOCK], 3)
        numbers = None if cells is None else plain_decimals(text, *map(np.ravel, cells))
        if numbers is None:
            return None
        joints[:, block : block + BLOCK] = numbers.reshape(3, -1)
    return joints.T


def _joint_rows(bodies: np.ndarray) -> np.ndarray:
    """(bodies * 25,) lines of all joints."""
    return (bodies[:, 2:] + np.arange(JOINTS)).ravel()


def _joints(content: bytes, starts: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """The coordinates (bodies * 25, 3) of all joints, line by line."""
    rows = _joint_rows(bodies)
    cells = [content[starts[row] : starts[row + 1]].split() for row in rows.tolist()]
    for row, line in zip(rows, cells):
        if len(line) != VALUES:
            raise RecordingError(f'line {row + 1}: has {len(line)} values; a joint has {VALUES}')
    joints = number_table(b'\n'.join(b' '.join(line[:3]) for line in cells), 3)
    broken = rows[~np.isfinite(joints).all(axis=1)]
    if len(broken):
        raise RecordingError(
            f'line {broken[0] + 1}: the coordinates of a joint must be three finite numbers'
        )
    return joints


def read_bodies(content: bytes) -> np.ndarray:
    """All bodies of a ``.skeleton`` file.

    Returns:
        (M, T, 25, 3) float32, M the largest number of bodies in a frame (none is zeros), at most 4.

    Raises:
        RecordingError: if the file is damaged; the message names the line.
    """
    if not content.strip():
        raise RecordingError('is empty')
    if b'\n' not in content:
        content = content.replace(b'\r', b'\n')
    starts = _lines(content)
    frames, bodies = _equal_frames(content, starts) or _body_rows(content, starts)
    if not len(bodies):
        raise RecordingError('has no body in any frame')
    joints = _plain_joints(content, starts, bodies)
    if joints is None:  # other blanks, exponents, or something that is wrong
        joints = _joints(content, starts, bodies)
    kept = bodies[:, 1] < MAX_BODIES
    frame, place, _ = bodies[kept].T
    keypoint = np.zeros((place.max() + 1, frames, JOINTS, 3), dtype=np.float32)
    keypoint[place, frame] = joints.reshape(-1, JOINTS, 3)[kept]
    return keypoint


def _spread(body: np.ndarray) -> float:
    """Motion of a body (T, 25, 3): the standard deviations of x, y and z over its frames that are not zero, summed."""
    present = body[body.reshape(len(body), -1).sum(axis=1) != 0].reshape(-1, 3)
    return (
        float(np.ascontiguousarray(present.T, dtype=np.float64).std(axis=1).sum())
        if len(present)
        else 0.0
    )


def choose_bodies(keypoint: np.ndarray, rule: str) -> np.ndarray:
    """The two people of a recording (or the one).

    Args:
        keypoint: (M, T, V, 3) bodies by their place in the frame.
        rule: ``first``: the first two of each frame (the preprocessing of ST-GCN that the paper's numbers rest on);
            ``motion``: of the first four the two that move most, more motion first (mmaction2's
            ``gen_ntu_rgbd_raw.py``).

    Returns:
        (1 or 2, T, V, 3).
    """
    if rule == 'motion':
        spread = np.array([_spread(body) for body in keypoint])
        keypoint = keypoint[np.argsort(spread)[::-1]]
    chosen = keypoint[:2]
    return chosen[:1] if len(chosen) == 2 and not chosen[1].any() else chosen


class NTU60(Reader):
    """NTU RGB+D 60: 56,880 recordings of 60 actions, 40 subjects, 3 cameras.

    Args:
        files: of the source.
        bodies: which bodies to take, see :func:`choose_bodies`.
    """

    name, pattern, num_classes, options = 'ntu60', '*.skeleton', 60, ('bodies',)
    published = dict(xsub_train=40091, xsub_val=16487, xview_train=37646, xview_val=18932)
    setups = 17

    def __init__(self, files: Sequence[SourceFile], bodies: str = 'first') -> None:
        super().__init__(files)
        if bodies not in ('first', 'motion'):
            raise ValueError(f"bodies={bodies!r}; known are 'first' and 'motion'")
        self.bodies = bodies

    def recordings(self) -> list[SourceFile]:
        """The files but for those that are listed as missing and those of other setups."""
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
        """One sequence; its name says everything but the coordinates."""
        numbers = match_name(recording.stem, NAME, 'S001C001P001R001A001.skeleton').groups()
        setup, camera, subject, _, action = map(int, numbers)
        label = self.label(action)
        keypoint = choose_bodies(read_bodies(recording.read(MAX_FILE)), self.bodies)
        if not keypoint.any():
            raise RecordingError('has only zeros as coordinates')
        return [
            dict(
                frame_dir=recording.stem,
                label=label,
                keypoint=keypoint,
                total_frames=keypoint.shape[1],
                subject=subject,
                camera=camera,
                setup=setup,
            )
        ]

    def splits(self, annotation: dict) -> list[str]:
        """Cross-subject, and cross-view in NTU-60."""
        return [
            'xsub_train' if annotation['subject'] in XSUB60 else 'xsub_val',
            'xview_train' if annotation['camera'] in XVIEW else 'xview_val',
        ]


class NTU120(NTU60):
    """NTU RGB+D 120: 114,480 recordings of 120 actions, 106 subjects, 32 setups; NTU-60's are a part of it."""

    name, num_classes, setups = 'ntu120', 120, 32
    published = dict(xsub_train=63026, xsub_val=50919, xset_train=54468, xset_val=59477)

    def splits(self, annotation: dict) -> list[str]:
        """Cross-subject and cross-setup."""
        return [
            'xsub_train' if annotation['subject'] in XSUB120 else 'xsub_val',
            'xset_train' if annotation['setup'] in XSET else 'xset_val',
        ]
