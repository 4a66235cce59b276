"""What a prepared data set holds, counted and printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from .checks import name_of, printable, some

EXAMPLES = 5  # of each kind that are printed


class Summary:
    """Counts sequences as they pass by.

    Attributes:
        odd: what is odd about sequences -> their names.
        overlaps: sentences about splits that share sequences.

    Args:
        published: split -> number of sequences as published.
        num_classes: as published.
        heading: what the problems are called, ``skipped`` or ``defects``.
    """

    def __init__(
        self,
        published: Mapping[str, int] | None = None,
        num_classes: int | None = None,
        heading: str = 'skipped',
    ) -> None:
        self.published, self.num_classes = dict(published or {}), num_classes
        self.labels: Counter = Counter()
        self.people: Counter = Counter()
        self.shapes: Counter = Counter()
        self.subjects: set = set()
        self.frames: list[int] = []
        self.splits: dict[str, int] = {}
        self.left_out: dict[str, list[str]] = {}
        self.problems: list[str] = []
        self.odd: dict[str, list[str]] = {}
        self.overlaps: list[str] = []
        self.heading = heading

    def add(self, annotation: Mapping, odd: Iterable[str] = ()) -> None:
        """Counts one sequence.

        Args:
            annotation: the sequence.
            odd: what is odd about it (see :func:`~aimclr_mm.datasets.checks.oddities`).
        """
        for kind in odd:
            self.odd.setdefault(kind, []).append(name_of(annotation))
        people, frames, joints, channels = annotation['keypoint'].shape
        self.labels[annotation.get('label')] += 1
        self.people[people] += 1
        self.shapes[joints, channels, 'keypoint_score' in annotation] += 1
        self.frames.append(frames)
        if annotation.get('subject') is not None:
            self.subjects.add(annotation['subject'])

    @property
    def sequences(self) -> int:
        """How many there are."""
        return len(self.frames)

    def _counts(self) -> list[tuple[str, str]]:
        classes = len(self.labels) - (None in self.labels)
        expected = (
            f' (published: {self.num_classes})'
            if self.num_classes and self.num_classes != classes
            else ''
        )
        unlabelled = f'; {self.labels[None]} without label' if None in self.labels else ''
        skeletons = ', '.join(
            f'{count} x {joints} joints, {channels} coordinates{" and score" if score else ""}'
            for (joints, channels, score), count in self.shapes.most_common()
        )
        return [
            ('sequences', f'{self.sequences}'),
            ('classes', f'{classes}{expected}{unlabelled}'),
            ('subjects', str(len(self.subjects) or 'not known')),
            (
                'people',
                ', '.join(
                    f'{count} with {people}' for people, count in sorted(self.people.items())
                ),
            ),
            (
                'frames',
                f'{sum(self.frames)} ({min(self.frames)} to {max(self.frames)}, median '
                f'{np.median(self.frames):.0f})',
            ),
            ('skeleton', skeletons),
        ]

    def _splits(self) -> list[tuple[str, str]]:
        lines = []
        for name in sorted(
            {*self.splits, *self.published}, key=lambda n: (n not in self.splits, n)
        ):
            count, published = self.splits.get(name, 0), self.published.get(name)
            note = (
                ''
                if published is None
                else ' = published'
                if count == published
                else f'; published: {published}'
            )
            lines.append((f'split {name}', f'{count}{note}'))
        return lines

    def _omissions(self) -> list[tuple[str, str]]:
        lines = [(f'left out ({len(names)})', reason) for reason, names in self.left_out.items()]
        lines += [
            (f'odd ({len(names)})', f'{kind}: {some(names)}') for kind, names in self.odd.items()
        ]
        lines += [('odd', text) for text in self.overlaps]
        lines += [
            (f'{self.heading} ({len(self.problems)})', problem)
            for problem in self.problems[:EXAMPLES]
        ]
        rest = len(self.problems) - EXAMPLES
        return lines + ([('', f'and {rest} more')] if rest > 0 else [])

    def __str__(self) -> str:
        lines = (
            (self._counts() if self.frames else [('sequences', '0')])
            + self._splits()
            + self._omissions()
        )
        width = max(len(name) for name, _ in lines)
        return '\n'.join(
            f'  {printable(name):<{width}}  {printable(value)}' for name, value in lines
        )
