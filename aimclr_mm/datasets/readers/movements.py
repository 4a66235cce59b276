"""Performances of random movement programs as a data set, to see whether an encoder finds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from aimclr_mm.datasets.movements import PICTURE, random_programs, record
from aimclr_mm.utils.arguments import check_choice

from .base import Reader, cross_subject, make_annotation
from .sources import SourceFile

FRAMES = 60
LIMITS = dict(programs=(1, 100_000), performances=(2, 999), seed=(0, 2**31 - 1))


class Movements(Reader):
    """Generated performances of random movements, whose class is the program; needs no source.

    They are drawn as :class:`~aimclr_mm.datasets.movements.RandomMovements` draws its pairs, with
    seeds of their own.

    Args:
        files: none.
        programs: number of classes.
        performances: recordings of each, all by different people.
        seed: seed of the whole data set.
        layout: ``ntu25``, or ``coco17`` for poses in pixels with scores.

    Raises:
        ValueError: if a number is out of range.
    """

    name = 'movements'
    options = ('programs', 'performances', 'seed', 'layout')
    needs_source = False

    def __init__(
        self,
        files: Sequence[SourceFile] = (),
        programs: int = 100,
        performances: int = 10,
        seed: int = 0,
        layout: str = 'ntu25',
    ) -> None:
        super().__init__(files)
        for name, value in dict(programs=programs, performances=performances, seed=seed).items():
            low, high = LIMITS[name]
            if not low <= value <= high:
                raise ValueError(f'{name}={value} is out of range; it must be {low} to {high}')
        check_choice('layout', layout, ('ntu25', 'coco17'))
        self.programs = programs
        self.performances = performances
        self.seed = seed
        self.layout = layout

    def recordings(self) -> list[int]:
        """Return the numbers of the programs."""
        return list(range(self.programs))

    def read(self, recording: int) -> list[dict]:
        """Generate all performances of a program."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * LIMITS['programs'][1] + recording)
            program = random_programs(1).repeat(self.performances)
            clips = record(program, FRAMES, self.layout)[:, None].numpy()

        return [
            make_annotation(
                f'M{recording:05}P{subject:03}',
                label=recording,
                subject=subject,
                **self._fields(clip),
            )
            for subject, clip in enumerate(clips, start=1)
        ]

    def _fields(self, clip: np.ndarray) -> dict:
        """Return the fields of a clip (1, T, V, 3): meters, or pixels and scores."""
        if self.layout == 'ntu25':
            return dict(keypoint=clip)
        width, height = PICTURE
        return dict(
            keypoint=np.ascontiguousarray(clip[..., :2]),
            keypoint_score=np.ascontiguousarray(clip[..., 2]),
            img_shape=(height, width),
        )

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject split: odd performances train."""
        return [cross_subject(annotation['subject'])]
