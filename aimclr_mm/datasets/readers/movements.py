"""Performances of random movement programs as a data set, to see whether an encoder finds them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aimclr_mm.datasets.movements import random_programs, record

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

    Raises:
        ValueError: if a number is out of range.
    """

    name = 'movements'
    options = ('programs', 'performances', 'seed')
    needs_source = False

    def __init__(
        self,
        files: Sequence[SourceFile] = (),
        programs: int = 100,
        performances: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(files)
        for name, value in dict(programs=programs, performances=performances, seed=seed).items():
            low, high = LIMITS[name]
            if not low <= value <= high:
                raise ValueError(f'{name}={value} is out of range; it must be {low} to {high}')
        self.programs = programs
        self.performances = performances
        self.seed = seed

    def recordings(self) -> list[int]:
        """Return the numbers of the programs."""
        return list(range(self.programs))

    def read(self, recording: int) -> list[dict]:
        """Generate all performances of a program."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * LIMITS['programs'][1] + recording)
            program = random_programs(1).repeat(self.performances)
            clips = record(program, FRAMES).numpy()  # (performances, T, V, 3)

        return [
            make_annotation(
                f'M{recording:05}P{subject:03}', clip[None], label=recording, subject=subject
            )
            for subject, clip in enumerate(clips, start=1)
        ]

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject split: odd performances train."""
        return [cross_subject(annotation['subject'])]
