"""What every reader of a data set's original files shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .sources import RecordingError, SourceFile


def match_name(stem: str, pattern: re.Pattern, example: str) -> re.Match:
    """What the name of a recording tells.

    Raises:
        RecordingError: if it is named in another way than the example.
    """
    match = pattern.match(stem)
    if not match:
        raise RecordingError(f'is not named like {example}')
    return match


class Reader:
    """Reads the original files of one data set.

    :func:`aimclr_mm.datasets.prepare.prepare` asks for :meth:`recordings` once, then calls :meth:`read` for each, in
    several processes, and :meth:`splits` for each sequence that came out. A reader is pickled to the processes.

    Class attributes:
        name: on the command line and of the folder ``data/<name>``.
        layout: joint layout, a name in the table or a mapping with a layout's fields.
        pattern: shell pattern of the names of the files that may be recordings.
        published: split -> number of sequences that the authors or the field count, for the summary.
        num_classes: as published; None where the files decide.
        options: names of the keyword arguments that the constructor takes beside ``files``.
        preprocessed: whether the sequences have been through the paper's preprocessing already.
        needs_source: whether there are files to read.
        classes: names of the classes by label, where the source tells them.

    Args:
        files: all files of the source.
    """

    name: str
    layout: Any = 'ntu25'
    pattern: str = '*'
    published: dict[str, int] = {}
    num_classes: int | None = None
    options: tuple[str, ...] = ()
    preprocessed = False
    needs_source = True
    classes: list[str] | None = None

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self.files = list(files)
        self.left_out: dict[str, list[str]] = {}  # reason -> names of what is left out on purpose

    def recordings(self) -> list[Any]:
        """What :meth:`read` is called with, in the order of the result; as a rule the source files.

        Raises:
            ValueError: if the source lacks what the data set consists of.
        """
        return self.files

    def read(self, recording: Any) -> list[dict]:
        """The sequences of one recording: dicts of ``frame_dir``, ``keypoint`` (M, T, V, C) float32, ``total_frames``
        and, where known, ``label`` (0-based), ``subject`` and ``camera``.

        Raises:
            RecordingError: if the recording cannot be used; the others still can.
        """
        raise NotImplementedError

    def splits(self, annotation: dict) -> Sequence[str]:
        """Names of the splits that a sequence belongs to, such as ``xsub_train``."""
        return ()

    def leave_out(self, reason: str, name: str) -> None:
        """Notes what is left out on purpose."""
        self.left_out.setdefault(reason, []).append(name)

    def label(self, action: int) -> int:
        """The label of an action that a name tells, 1 to ``num_classes``.

        Raises:
            RecordingError: for any other number.
        """
        if not 1 <= action <= self.num_classes:
            raise RecordingError(
                f'has action {action} in its name; {self.name} has 1 to {self.num_classes}'
            )
        return action - 1

    def dataset(self) -> dict:
        """The whole data set in mmaction2's pose format, in memory; for small ones and tests."""
        annotations = [
            annotation for recording in self.recordings() for annotation in self.read(recording)
        ]
        split: dict[str, list[str]] = {}
        for annotation in annotations:
            for name in self.splits(annotation):
                split.setdefault(name, []).append(annotation['frame_dir'])
        return dict(metainfo=self.metainfo(), annotations=annotations, split=split)

    def metainfo(self) -> dict:
        """What an annotation file says about itself."""
        settings = {name: getattr(self, name) for name in self.options}
        classes = {} if self.classes is None else dict(classes=self.classes)
        return {
            **settings,
            'dataset': self.name,
            'layout': self.layout,
            'preprocessed': self.preprocessed,
            **classes,
        }
