"""The synthetic actions of :mod:`aimclr_mm.datasets.synthetic` as a data set like any other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from aimclr_mm.datasets.synthetic import ACTIONS, check_numbers, label_of, synthesize

from .base import Reader
from .sources import SourceFile


class Synthetic(Reader):
    """Made-up actions of an articulated skeleton with NTU's joints; needs no source.

    Args:
        files: none.
        subjects, cameras, repetitions: how many of each, numbered from 1; all combinations with all actions.
        seed: of the whole world, 0 to 2**32 - 1.
        actions: names or indices in ``ACTIONS``, all of them by default. Labels stay indices in ``ACTIONS``.

    Raises:
        ValueError: for a number out of range or an unknown action.
    """

    name, options, needs_source = 'synthetic', ('subjects', 'cameras', 'repetitions', 'seed'), False

    def __init__(
        self,
        files: Sequence[SourceFile] = (),
        subjects: int = 10,
        cameras: int = 3,
        repetitions: int = 2,
        seed: int = 0,
        actions: Sequence[str | int] | None = None,
    ) -> None:
        super().__init__(files)
        check_numbers(subjects=subjects, cameras=cameras, repetitions=repetitions, seed=seed)
        self.subjects, self.cameras, self.repetitions, self.seed = (
            subjects,
            cameras,
            repetitions,
            seed,
        )
        self.labels = sorted(
            {label_of(action) for action in (ACTIONS if actions is None else actions)}
        )

    def recordings(self) -> list[tuple[int, int, int, int]]:
        """(subject, camera, repetition, label) of every performance."""
        numbers = (range(1, count + 1) for count in (self.subjects, self.cameras, self.repetitions))
        return list(product(*numbers, self.labels))

    def read(self, recording: tuple[int, int, int, int]) -> list[dict]:
        """One performance, named as NTU's: SsssCcccPpppRrrrAaaa, P the subject."""
        subject, camera, repetition, label = recording
        keypoint = synthesize(label, subject, camera, repetition, self.seed)
        return [
            dict(
                frame_dir=f'S001C{camera:03}P{subject:03}R{repetition:03}A{label + 1:03}',
                label=label,
                keypoint=keypoint,
                total_frames=keypoint.shape[1],
                subject=subject,
                camera=camera,
            )
        ]

    def splits(self, annotation: dict) -> list[str]:
        """Cross-subject: odd subjects train; cross-view: camera 1 is validation, as in NTU."""
        return [
            'xsub_train' if annotation['subject'] % 2 else 'xsub_val',
            'xview_val' if annotation['camera'] == 1 else 'xview_train',
        ]
