"""Windows of long recordings: cut them, and merge what is predicted for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.logging import MMLogger

SPAN = re.compile(r'(.*)@(\d+\.\d{3})-(\d+\.\d{3})', re.S)


@dataclass(frozen=True)
class Windows:
    """Overlapping windows of equal length; the last one ends with the recording.

    Args:
        seconds: length of a window.
        stride: seconds from one window to the next, at most ``seconds``.
        fps: frames per second of the recordings.

    Attributes:
        length, step: the same in frames.

    Raises:
        ValueError: if a number is out of range.
    """

    seconds: float
    stride: float
    fps: float = 30.0

    def __post_init__(self) -> None:
        if not (0 < self.fps < np.inf and 0 < self.seconds < np.inf):
            raise ValueError(
                f'a window of {self.seconds} s at {self.fps} frames per second; both must be '
                'positive'
            )
        if not 0 < self.stride <= self.seconds:
            raise ValueError(
                f'a stride of {self.stride} s; it must be positive and at most the window of '
                f'{self.seconds} s, or frames between two windows would be left out'
            )

    @property
    def length(self) -> int:
        """Frames of a window."""
        return max(1, round(self.seconds * self.fps))

    @property
    def step(self) -> int:
        """Frames from one window to the next."""
        return min(self.length, max(1, round(self.stride * self.fps)))

    def starts(self, total: int) -> list[int]:
        """Return the first frame of each window of a recording.

        Args:
            total: frames of the recording; a single window holds all of them if it is shorter.
        """
        last = max(total - self.length, 0)
        starts = list(range(0, last + 1, self.step))
        return starts if starts[-1] == last else [*starts, last]

    def cut(self, annotations: Sequence[Mapping]) -> list[dict]:
        """Return the windows of recordings as annotations named by :func:`window_name`.

        Windows without a body are left out, and their number is logged.
        """
        pieces = [piece for annotation in annotations for piece in self._cut_one(annotation)]
        kept = [piece for piece in pieces if piece['keypoint'].any()]
        if len(kept) < len(pieces):
            MMLogger.get_current_instance().warning(
                f'{len(pieces) - len(kept)} of {len(pieces)} windows hold no body and are left out'
            )
        return kept

    def _cut_one(self, annotation: Mapping) -> list[dict]:
        total = annotation['keypoint'].shape[1]
        pieces = []
        for start in self.starts(total):
            stop = min(start + self.length, total)
            arrays = {
                name: annotation[name][:, start:stop]
                for name in ('keypoint', 'keypoint_score')
                if annotation.get(name) is not None
            }
            name = window_name(annotation['frame_dir'], start / self.fps, stop / self.fps)
            pieces.append({**annotation, **arrays, 'frame_dir': name, 'total_frames': stop - start})
            annotation = {key: value for key, value in annotation.items() if key != 'reordered'}
        return pieces  # frames that were reordered are counted in the first one


def window_name(name: str, start: float, end: float) -> str:
    """Return the name of a window, such as ``long.npy@1.500-3.500``.

    Args:
        name: name of the recording.
        start, end: seconds.
    """
    return f'{name}@{start:.3f}-{end:.3f}'


def split_name(name: str) -> tuple[str, float | None, float | None]:
    """Return the name of the recording, start and end of a window; None for a whole recording."""
    match = SPAN.fullmatch(name)
    return (match[1], float(match[2]), float(match[3])) if match else (name, None, None)


def overlap(name: str, other: str) -> bool:
    """Return whether two windows share time of one recording."""
    first, start, end = split_name(name)
    second, other_start, other_end = split_name(other)
    if start is None or other_start is None:
        return name == other
    return first == second and start < other_end and other_start < end


def merge(
    starts: Sequence[float], ends: Sequence[float], scores: np.ndarray
) -> list[tuple[float, float, np.ndarray]]:
    """Merge the scores of the windows of one recording to segments of equal class.

    The scores at a time are the mean over the windows that hold it, and the class is the one of the
    highest mean. A time without a window, where nobody is seen, ends a segment.

    Args:
        starts, ends: (W,) seconds.
        scores: (W, K) scores of K classes.

    Returns:
        Start, end and mean scores (K,) of each segment, in the order of time.
    """
    edges = np.unique([*starts, *ends])
    changes = np.zeros((len(edges), scores.shape[1] + 1))  # scores and number of windows
    rows = np.column_stack([scores, np.ones(len(scores))])
    np.add.at(changes, np.searchsorted(edges, starts), rows)
    np.add.at(changes, np.searchsorted(edges, ends), -rows)

    sums = changes.cumsum(axis=0)[:-1]  # between two edges
    counts = sums[:, -1].round()
    means = sums[:, :-1] / np.maximum(counts, 1)[:, None]
    classes = np.where(counts > 0, means.argmax(axis=1), -1)

    lengths = np.diff(edges)
    first = np.flatnonzero(np.diff(classes, prepend=-2))
    segments = []
    for begin, stop in zip(first, [*first[1:], len(classes)]):
        if classes[begin] >= 0:
            mean = np.average(means[begin:stop], axis=0, weights=lengths[begin:stop])
            segments.append((float(edges[begin]), float(edges[stop]), mean))
    return segments
