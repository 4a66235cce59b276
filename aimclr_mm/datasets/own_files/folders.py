"""Folders of recordings, one for each class, as small public data sets and one's own come."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from aimclr_mm.datasets.readers.base import Reader
from aimclr_mm.datasets.readers.sources import RecordingError, SourceFile
from aimclr_mm.skeletons import Layout, get_layout

from .fields import read_fields

EXTENSIONS = ('.csv', '.json', '.npy', '.npz', '.pkl', '.txt')


class Folders(Reader):
    """Sequences in ``SOURCE/<class>/<name>.txt`` (or ``.csv``; for arrays and poses ``.npy``, ``.npz``, ``.json`` and
    ``.pkl``, see :mod:`.fields`).

    A table has a line for each frame, with M * V * C numbers for M people of V joints of C coordinates: those of the
    first joint of the first person, of his second joint and so on, then those of the next person. Blanks, tabs, commas
    or semicolons stand between them; the first line may be a header of names. V and C are the layout's, M follows from
    the number of columns. Joints are in the order of the layout; coordinates stay as they are, in whatever unit, which
    must be the same in all files. Nothing may be missing: a person who is absent is zeros.

    The class is the name of the folder that a file lies in, whatever lies above it, and its label is the rank of the
    name among the sorted names. What lies in SOURCE itself has no label.

    Args:
        files: of the source; those with other extensions are ignored.
        layout: joint layout of all sequences: a name in the table, a mapping with a layout's fields, or the path of a
            YAML file with them. The annotation file gets the name or the fields, not the path.
        subject: regular expression with one group that finds the number of the subject in the name of a file (without
            folder and extension), such as ``_s([0-9]+)``. Odd subjects are then ``xsub_train``, even ones ``xsub_val``;
            there are no splits without it.

    Attributes:
        classes: names of the classes by label.

    Raises:
        FileNotFoundError, ValueError: if the layout or the expression is none.
    """

    name, options = 'folders', ('layout', 'subject')

    def __init__(
        self,
        files: Sequence[SourceFile],
        layout: str | Mapping | Layout = 'ntu25',
        subject: str | None = None,
    ) -> None:
        super().__init__([file for file in files if file.name.lower().endswith(EXTENSIONS)])
        self._joints = get_layout(layout)
        self.layout = self._joints.to_config()
        self.subject = subject
        self._subject = None if subject is None else _expression(subject)
        self.classes = sorted({name for name in map(_class_name, self.files) if name})

    def recordings(self) -> list[SourceFile]:
        """The files with one of the extensions.

        Raises:
            ValueError: if there is none.
        """
        if not self.files:
            raise ValueError(
                f'the source holds no file {", ".join(f"*{extension}" for extension in EXTENSIONS)}; give '
                'the folder whose folders are the classes'
            )
        return self.files

    def read(self, recording: SourceFile) -> list[dict]:
        """One sequence, named by its folders and its name."""
        known = {}
        if self._subject is not None:
            known['subject'] = self._find_subject(recording.stem)
        known.update(read_fields(recording, self._joints))
        if _class_name(recording):
            known['label'] = self.classes.index(_class_name(recording))
        return [dict(frame_dir=os.path.splitext(recording.name)[0], **known)]

    def splits(self, annotation: dict) -> list[str]:
        """Cross-subject, odd subjects train, where subjects are known."""
        if 'subject' not in annotation:
            return []
        return ['xsub_train' if annotation['subject'] % 2 else 'xsub_val']

    def _find_subject(self, stem: str) -> int:
        match = self._subject.search(stem)
        number = match and match[1]
        if not number or not re.fullmatch('[0-9]{1,9}', number):
            raise RecordingError(
                f'its name holds no number of a subject where {self.subject!r} looks for it'
                + (f', but {number!r}' if number else '')
            )
        return int(number)


def _class_name(file: SourceFile) -> str:
    """The folder that a file lies in; empty if it lies in the source itself."""
    return os.path.basename(os.path.dirname(file.name))


def _expression(pattern: str) -> re.Pattern:
    """The compiled expression for subjects."""
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f'subject={pattern!r} is no regular expression ({error})') from error
    if expression.groups != 1:
        raise ValueError(
            f'subject={pattern!r} has {expression.groups} groups; it needs one, in parentheses, around '
            'the number of the subject, such as _s([0-9]+)'
        )
    return expression
