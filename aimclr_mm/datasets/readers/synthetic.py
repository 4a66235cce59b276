"""The synthetic actions of :mod:`aimclr_mm.datasets.synthetic` as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from aimclr_mm.datasets.synthetic import ACTIONS, check_numbers, label_of, synthesize

from .base import Reader, cross_subject, make_annotation
from .sources import SourceFile


class Synthetic(Reader):
    """Generated actions of an articulated skeleton with the joints of NTU; needs no source.

    Args:
        files: none.
        subjects, cameras, repetitions: how many of each, numbered from 1; all combinations with all
            actions.
        seed: seed of the whole data set, 0 to 2**32 - 1.
        actions: names or indices in ``ACTIONS``, all by default. Labels are always indices in
            ``ACTIONS``.

    Raises:
        ValueError: if a number is out of range or an action is unknown.
    """

    name = 'synthetic'
    options = ('subjects', 'cameras', 'repetitions', 'seed')
    needs_source = False

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
        self.subjects = subjects
        self.cameras = cameras
        self.repetitions = repetitions
        self.seed = seed
        self.labels = sorted(set(map(label_of, ACTIONS if actions is None else actions)))

    def recordings(self) -> list[tuple[int, int, int, int]]:
        """Return (subject, camera, repetition, label) of every performance."""
        numbers = (range(1, count + 1) for count in (self.subjects, self.cameras, self.repetitions))
        return list(product(*numbers, self.labels))

    def read(self, recording: tuple[int, int, int, int]) -> list[dict]:
        """Generate one performance, named as in NTU: SsssCcccPpppRrrrAaaa, P is the subject."""
        subject, camera, repetition, label = recording
        keypoint = synthesize(label, subject, camera, repetition, self.seed)
        name = f'S001C{camera:03}P{subject:03}R{repetition:03}A{label + 1:03}'
        return [make_annotation(name, keypoint, label=label, subject=subject, camera=camera)]

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject (odd train) and the cross-view split (camera 1 is val)."""
        return [
            cross_subject(annotation['subject']),
            'xview_val' if annotation['camera'] == 1 else 'xview_train',
        ]
