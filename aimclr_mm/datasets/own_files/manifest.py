"""Recordings of one's own: a manifest, and a file for each sequence.

The manifest is CSV (commas, semicolons or tabs; the first line names the columns), JSON (a list of objects) or JSON
lines. Of its columns only ``path`` must be there, and any cell but that of ``path`` may be empty:

- ``path``: the sequence, relative to the folder of the manifest. A relative path may not lead out of that folder, so
  that the folder means the same wherever it is copied to; what lies elsewhere is given by its absolute path.
- ``label``: the action. Whole numbers are labels as they are; names are sorted and numbered from 0.
- ``split``: names of the splits, separated by ``;``, such as ``train`` and ``val``.
- ``subject``, ``camera``: numbers or names.
- ``name``: of the sequence; the path without extension if not given.

:mod:`.custom_files` and :mod:`.fields` tell what the file of a sequence looks like.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aimclr_mm.datasets.readers.base import Reader
from aimclr_mm.datasets.readers.sources import RecordingError, SourceFile
from aimclr_mm.datasets.readers.text import is_number, load_json
from aimclr_mm.skeletons import Layout, get_layout

from .fields import read_fields

COLUMNS = ('path', 'label', 'split', 'subject', 'camera', 'name')
_CONTROL = re.compile('[\x00-\x1f\x7f\ud800-\udfff]')


@dataclass(frozen=True)
class Recording:
    """A row of the manifest.

    Args:
        row: the manifest and the place in it.
        file: the sequence, which may be missing.
        name: of the sequence.
        label: as it is written, empty if there is none.
        splits: that the sequence belongs to.
        subject, camera: numbers or names, None if not given.
    """

    row: str
    file: SourceFile
    name: str
    label: str
    splits: tuple[str, ...]
    subject: int | str | None
    camera: int | str | None

    def __str__(self) -> str:
        return f'{self.row} ({self.file.name})'


def _json_rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and cells of each object of a list or of JSON lines."""
    if text.lstrip().startswith('['):
        rows = ((f'entry {number}', row) for number, row in enumerate(load_json(text), 1))
    else:
        rows = (
            (f'line {number}', line)
            for number, line in enumerate(io.StringIO(text), 1)
            if line.strip()
        )
    for place, row in rows:
        try:
            row = load_json(row) if isinstance(row, str) else row
        except RecordingError as error:
            raise ValueError(
                f'{place} {error}; write a list of objects, or one object a line'
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f'{place} is no object such as {{"path": "a.npy", "label": "walk"}}')
        yield place, row


def _csv_rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and cells of each line that is not empty."""
    separator = next((mark for mark in ',;\t' if mark in text.partition('\n')[0]), ',')
    lines = csv.reader(io.StringIO(text, newline=''), delimiter=separator, strict=True)
    try:
        columns = [name.strip().lower() for name in next(lines, [])]
        double = [name for name in COLUMNS if columns.count(name) > 1]
        if 'path' not in columns or double:
            raise ValueError(
                f'line 1 has {"two columns " + double[0] if double else "no column path"}; it must name '
                f'the columns, {", ".join(COLUMNS)}'
            )
        for cells in lines:
            if len(cells) > len(columns):
                raise ValueError(
                    f'line {lines.line_num} has {len(cells)} cells, line 1 names {len(columns)} columns; '
                    f'put cells that hold {separator!r} in double quotes'
                )
            if any(map(str.strip, cells)):
                yield f'line {lines.line_num}', dict(zip(columns, cells))
    except csv.Error as error:
        raise ValueError(f'line {lines.line_num} is no CSV ({error})') from error


def _cell(row: dict[str, Any], column: str) -> str:
    """A cell as text, empty if there is none."""
    value = row.get(column)
    if value is None:
        return ''
    if (
        column == 'split'
        and isinstance(value, list)
        and all(isinstance(name, (str, int)) for name in value)
    ):
        value = ';'.join(map(str, value))
    if isinstance(value, (list, dict)):
        raise ValueError(
            f'column {column}: holds a list or an object, neither text nor a whole number'
        )
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f'column {column}: {str(value)[:40]!r} is neither text nor a whole number')
    text = str(value).strip()
    if _CONTROL.search(text):
        raise ValueError(
            f'column {column}: {text[:40]!r} holds a line break or another control character'
        )
    return text


def _recording(manifest: SourceFile, place: str, row: dict[str, Any]) -> Recording:
    """A row, checked."""
    cells = {column: _cell(row, column) for column in COLUMNS}
    path = posixpath.normpath(cells['path'].replace('\\', '/'))
    if not cells['path']:
        raise ValueError('column path: is empty')
    if path.split('/')[0] == '..':
        raise ValueError(
            f'column path: {path!r} leads out of the folder of the manifest; move the file into it or '
            'give the absolute path'
        )
    full = os.path.join(os.path.dirname(manifest.path), path)
    file = SourceFile.of(full, path) if os.path.isfile(full) else SourceFile(full, path, 0, 0)
    subject, camera = (
        int(text) if re.fullmatch('[0-9]{1,9}', text) else text or None
        for text in (cells['subject'], cells['camera'])
    )
    splits = dict.fromkeys(split.strip() for split in cells['split'].split(';'))
    return Recording(
        f'{manifest.path}, {place}',
        file,
        cells['name'] or os.path.splitext(path)[0],
        cells['label'],
        tuple(filter(None, splits)),
        subject,
        camera,
    )


def number_labels(labels: dict[str, str]) -> tuple[dict[str, int], list[str]]:
    """Labels as numbers.

    Args:
        labels: each label as it is written -> the first row that has it.

    Returns:
        Each label's number, and the names of the classes if the labels are names.

    Raises:
        ValueError: if there are names and numbers, or numbers other than 0 to 999999.
    """
    names = sorted(label for label in labels if not is_number(label))
    remedy = 'give names only, or whole numbers from 0 to 999999 only'
    for label, row in labels.items():
        if is_number(label) and names:
            raise ValueError(
                f'{row}, column label: {label!r} is a number, but {labels[names[0]]} has the name '
                f'{names[0]!r}; {remedy}'
            )
        if not names and not re.fullmatch('[0-9]{1,6}', label):
            raise ValueError(f'{row}, column label: {label!r} is no label; {remedy}')
    if names:
        return {name: number for number, name in enumerate(names)}, names
    return {label: int(label) for label in labels}, []


class Custom(Reader):
    """One's own recordings, listed in a manifest.

    Args:
        files: the manifest, nothing else.
        layout: joint layout of all recordings: a name in the table, a mapping with a layout's fields, or the path of
            a YAML file with them. The annotation file gets the name or the fields, not the path.

    Attributes:
        classes: names of the actions by label, once :meth:`recordings` has been called; empty if labels are numbers.

    Raises:
        FileNotFoundError, ValueError: if the layout is none, see :func:`aimclr_mm.skeletons.layouts.get_layout`.
    """

    name, options = 'custom', ('layout',)

    def __init__(
        self, files: Sequence[SourceFile], layout: str | Mapping | Layout = 'ntu25'
    ) -> None:
        super().__init__(files)
        self._joints = get_layout(layout)
        self.layout = self._joints.to_config()
        self.classes: list[str] = []
        self._numbers: dict[str, int] = {}

    def _rows(self) -> tuple[SourceFile, Iterator[tuple[str, dict[str, Any]]]]:
        """The manifest and its rows."""
        if len(self.files) != 1 or self.files[0].archived:
            what = (
                f'{len(self.files)} files'
                if len(self.files) != 1
                else f'an archive ({self.files[0].path})'
            )
            raise ValueError(
                f'{self.name} needs one manifest, a CSV or JSON file that lists the sequences, but the '
                f'source is {what}; unpack archives and give the manifest itself'
            )
        manifest = self.files[0]
        try:
            text = manifest.read().decode('utf-8-sig')
        except UnicodeDecodeError as error:
            raise ValueError(
                f'{manifest}: is no UTF-8 text ({error}); save it as "CSV UTF-8" or JSON'
            ) from error
        except RecordingError as error:
            raise ValueError(f'{manifest}: {error}') from error
        is_json = manifest.name.lower().endswith(('.json', '.jsonl', '.ndjson'))
        return manifest, _json_rows(text) if is_json else _csv_rows(text)

    def recordings(self) -> list[Recording]:
        """The rows of the manifest, in its order.

        Raises:
            ValueError: if the manifest is damaged or contradicts itself; the message names file, row and column.
        """
        manifest, rows = self._rows()
        found, names, labels, unknown = [], {}, {}, {}
        try:
            for place, row in rows:
                unknown.update(dict.fromkeys(filter(None, set(row).difference(COLUMNS))))
                try:
                    recording = _recording(manifest, place, row)
                except ValueError as error:
                    raise ValueError(f'{place}, {error}') from error
                if recording.name in names:
                    raise ValueError(
                        f'{place}: the name {recording.name!r} is also that of {names[recording.name]}; '
                        'give them different names in the column name'
                    )
                names[recording.name] = place
                if recording.label:
                    labels.setdefault(recording.label, place)
                found.append(recording)
            self._numbers, self.classes = number_labels(labels)
        except ValueError as error:
            raise ValueError(f'{manifest}: {error}') from error
        if not found:
            raise ValueError(f'{manifest}: lists no sequence; write a row with the path of each')
        if unknown:
            self.left_out[
                'columns of the manifest that mean nothing here: '
                + ', '.join(map(repr, sorted(unknown)))
            ] = sorted(unknown)
        return found

    def read(self, recording: Recording) -> list[dict]:
        """One sequence. Its splits are in the annotation until :meth:`splits` takes them out."""
        annotation = dict(
            frame_dir=recording.name,
            **read_fields(recording.file, self._joints),
            splits=list(recording.splits),
            camera=recording.camera,
            label=self._numbers.get(recording.label),
            subject=recording.subject,
        )
        return [{key: value for key, value in annotation.items() if value is not None}]

    def splits(self, annotation: dict) -> list[str]:
        """As the manifest names them."""
        return annotation.pop('splits')
