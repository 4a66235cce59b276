"""Folders of recordings, one folder per class."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from aimclr_mm.datasets.readers.base import cross_subject
from aimclr_mm.datasets.readers.sources import RecordingError, SourceFile
from aimclr_mm.skeletons import Layout

from .cleaning import MISSING
from .fields import (
    EXTENSIONS,
    Recording,
    group_frames,
    other_formats,
    read_fields,
    split_extension,
)
from .own_reader import OwnReader


class FolderReader(OwnReader):
    """Your own recordings in one folder per class: SOURCE/<class>/<name>.<extension>.

    :mod:`.fields` lists the formats; a folder of ``*_keypoints.json`` is one recording. Joints are
    in the order of the layout. Coordinates are kept in their unit, which must be the same in all
    files.

    The class is the name of the folder that contains the file, and its label is the rank of this
    name among the sorted names; whole numbers are sorted as numbers. Files at the top of SOURCE
    have no label.

    Args:
        files: files of the source; those with other extensions are left out and counted.
        layout, missing, unit: see :class:`.own_reader.OwnReader`.
        subject: regular expression with one group that finds the number of the subject in the name
            of a file (without folder and extension), such as ``_s([0-9]+)``. Odd subjects are then
            ``xsub_train``, even ones ``xsub_val``. There are no splits without it.

    Attributes:
        classes: class names by label.

    Raises:
        FileNotFoundError, ValueError: if the layout or the expression is not valid.
    """

    name = 'folders'
    options = ('layout', 'subject', 'missing', 'unit')

    def __init__(
        self,
        files: Sequence[SourceFile],
        layout: str | Mapping | Layout = 'ntu25',
        subject: str | None = None,
        missing: str = MISSING[0],
        unit: str | None = None,
    ) -> None:
        super().__init__(group_frames(files), layout, missing, unit)
        self.subject = subject
        self._subject = None if subject is None else _compile_subject(subject)
        self.classes = sort_names({file.folder for file in self.files if file.folder})
        for extension, names in other_formats(files).items():
            self.left_out[f'files of other formats ({extension or "without extension"})'] = names

    def recordings(self) -> list[Recording]:
        """Return the recordings.

        Raises:
            ValueError: if there are none.
        """
        if not self.files:
            patterns = ', '.join(f'*{extension}' for extension in EXTENSIONS)
            raise ValueError(
                f'the source holds no file {patterns}; give the folder whose folders are the '
                'classes'
            )
        return self.files

    def read(self, recording: Recording) -> list[dict]:
        """Read one sequence, named by its folders and its name."""
        annotation = dict(frame_dir=_name(recording))
        if self._subject is not None:
            annotation['subject'] = self._find_subject(os.path.basename(_name(recording)))
        annotation.update(read_fields(recording, self._joints))
        if recording.folder:
            annotation['label'] = self.classes.index(recording.folder)
        return [self.finish(annotation)]

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-subject split, if subjects are known: odd subjects train."""
        return [cross_subject(annotation['subject'])] if 'subject' in annotation else []

    def _find_subject(self, stem: str) -> int:
        match = self._subject.search(stem)
        number = match and match[1]
        if not number or not re.fullmatch('[0-9]{1,9}', number):
            found = f', but {number!r}' if number else ''
            raise RecordingError(
                f'its name holds no number of a subject where {self.subject!r} looks for it{found}'
            )
        return int(number)


def _name(recording: Recording) -> str:
    """Return the name of a recording with its folders, without extension."""
    if isinstance(recording, SourceFile):
        return split_extension(recording.name)[0]
    return recording.name


def sort_names(names: Iterable[str]) -> list[str]:
    """Return names in alphabetical order, in that of the numbers if all are whole numbers."""
    names = list(names)
    are_numbers = all(re.fullmatch('[0-9]{1,9}', name) for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if are_numbers else sorted(names)


def _compile_subject(pattern: str) -> re.Pattern:
    """Compile the expression for subjects."""
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(
            f'subject={pattern!r} is not a valid regular expression ({error})'
        ) from error

    if expression.groups != 1:
        raise ValueError(
            f'subject={pattern!r} has {expression.groups} groups; it needs one, in parentheses, '
            'around the number of the subject, such as _s([0-9]+)'
        )
    return expression
