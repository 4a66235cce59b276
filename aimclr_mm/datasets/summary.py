"""Statistics of a prepared dataset, as printed by ``tools/prepare_data.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from aimclr_mm.utils.terminal import printable

from .checks import abbreviate, name_of

if TYPE_CHECKING:  # own_files imports the readers, which import this module
    from .own_files.cleaning import Report

EXAMPLES = 5  # problems that are printed


class Summary:
    """Count sequences one by one; ``str(summary)`` is a table.

    Attributes:
        warnings: warning -> names of the sequences it is about.
        split_warnings: warnings about splits that share sequences.
        left_out: reason -> names of the files and sequences left out on purpose.
        problems: recordings that could not be read, or defects of a file.
        cleaning: what was missing in own recordings, None for a data set.
        cameras: a sentence on tilted cameras, see :mod:`.leveling`.

    Args:
        published: split -> published number of sequences.
        num_classes: published number of classes.
        heading: heading of the problems, ``skipped`` or ``defects``.
    """

    def __init__(
        self,
        published: Mapping[str, int] | None = None,
        num_classes: int | None = None,
        heading: str = 'skipped',
    ) -> None:
        self.published = dict(published or {})
        self.num_classes = num_classes
        self.heading = heading

        self.labels: Counter = Counter()
        self.people: Counter = Counter()
        self.shapes: Counter = Counter()
        self.subjects: set = set()
        self.frames: list[int] = []
        self.splits: dict[str, int] = {}
        self.left_out: dict[str, list[str]] = {}
        self.problems: list[str] = []
        self.warnings: dict[str, list[str]] = {}
        self.cleaning: Report | None = None
        self.cameras = ''
        self.split_warnings: list[str] = []

    def add(self, annotation: Mapping, warnings: Iterable[str] = ()) -> None:
        """Count one sequence.

        Args:
            annotation: the sequence.
            warnings: warnings about it (see :func:`~aimclr_mm.datasets.checks.warnings`).
        """
        for text in warnings:
            self.warnings.setdefault(text, []).append(name_of(annotation))

        people, frames, joints, channels = annotation['keypoint'].shape
        self.labels[annotation.get('label')] += 1
        self.people[people] += 1
        self.shapes[joints, channels, 'keypoint_score' in annotation] += 1
        self.frames.append(frames)
        if annotation.get('subject') is not None:
            self.subjects.add(annotation['subject'])

    @property
    def sequences(self) -> int:
        """Number of sequences."""
        return len(self.frames)

    def _class_text(self) -> str:
        """Return the number of classes, compared with the published one."""
        classes = len(self.labels) - (None in self.labels)
        text = str(classes)
        if self.num_classes and self.num_classes != classes:
            text += f' (published: {self.num_classes})'
        if None in self.labels:
            text += f'; {self.labels[None]} without label'
        return text

    def _counts(self) -> list[tuple[str, str]]:
        """Return the lines about all sequences."""
        if not self.frames:
            return [('sequences', '0')]

        people = [f'{count} with {people}' for people, count in sorted(self.people.items())]
        span = f'{min(self.frames)} to {max(self.frames)}, median {np.median(self.frames):.0f}'
        skeletons = [
            f'{count} x {joints} joints, {channels} coordinates{" and score" if score else ""}'
            for (joints, channels, score), count in self.shapes.most_common()
        ]
        return [
            ('sequences', str(self.sequences)),
            ('classes', self._class_text()),
            ('subjects', str(len(self.subjects) or 'not known')),
            ('people', ', '.join(people)),
            ('frames', f'{sum(self.frames)} ({span})'),
            ('skeleton', ', '.join(skeletons)),
        ]

    def _split_counts(self) -> list[tuple[str, str]]:
        """Return a line for each split, those that are only published last."""
        lines = []
        only_published = sorted(set(self.published) - set(self.splits))
        for name in [*sorted(self.splits), *only_published]:
            count = self.splits.get(name, 0)
            published = self.published.get(name)
            text = str(count)
            if published is not None:
                text += ' = published' if count == published else f'; published: {published}'
            lines.append((f'split {name}', text))
        return lines

    def _remarks(self) -> list[tuple[str, str]]:
        """Return the lines about omissions, warnings and problems."""
        lines = [(f'left out ({len(names)})', reason) for reason, names in self.left_out.items()]
        lines += [('missing', text) for text in (self.cleaning.lines() if self.cleaning else ())]
        lines += [('cameras', self.cameras)] if self.cameras else []
        lines += [
            (f'warning ({len(names)})', f'{text}: {abbreviate(names)}')
            for text, names in self.warnings.items()
        ]
        lines += [('warning', text) for text in self.split_warnings]

        heading = f'{self.heading} ({len(self.problems)})'
        lines += [(heading, problem) for problem in self.problems[:EXAMPLES]]
        rest = len(self.problems) - EXAMPLES
        if rest > 0:
            lines.append(('', f'and {rest} more'))
        return lines

    def __str__(self) -> str:
        lines = self._counts() + self._split_counts() + self._remarks()
        width = max(len(name) for name, _ in lines)
        return '\n'.join(
            f'  {printable(name):<{width}}  {printable(value)}' for name, value in lines
        )
