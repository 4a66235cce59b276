"""Manifests: tables that list one file per sequence.

A manifest is CSV (commas, semicolons or tabs; the first line names the columns), JSON (a list of
objects) or JSON lines. Only the column ``path`` is required, and only its cells must be filled:

- ``path``: file of the sequence, relative to the folder of the manifest. A relative path must stay
  inside that folder, so that the folder can be copied; files elsewhere need an absolute path.
- ``label``: the action. Whole numbers are used as they are; names are sorted and numbered from 0.
- ``split``: names of splits, separated by ``;``, such as ``train`` and ``val``.
- ``subject``, ``camera``: numbers or names.
- ``name``: name of the sequence; the path without extension by default, followed by ``start`` and
  ``end`` if they are given.
- ``start``, ``end``: first frame of the sequence, from 0, and the frame after its last one, to cut
  actions out of a long recording. Empty: its beginning, its end.
- ``width``, ``height``: size of the picture in pixels, for coordinates in a picture. Coordinates
  that are fractions of it become pixels.

:mod:`.fields` describes the files of the sequences.
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

import numpy as np

from aimclr_mm.datasets.readers.sources import RecordingError, SourceFile
from aimclr_mm.datasets.readers.text import is_number, load_json
from aimclr_mm.skeletons import Layout

from .cleaning import MISSING
from .fields import Recording, frame_folder, read_fields, split_extension
from .own_reader import OwnReader
from .pose_json import FRACTIONS
from .shapes import MAX_TEXT

COLUMNS = (
    'path',
    'label',
    'split',
    'subject',
    'camera',
    'name',
    'start',
    'end',
    'width',
    'height',
)
SEPARATORS = ',;\t'
MAX_ROWS = 500_000  # up to 1000 bytes each
MAX_COLUMNS = 1000
JSON_EXTENSIONS = ('.json', '.jsonl', '.ndjson')

_CONTROL = re.compile('[\x00-\x1f\x7f\ud800-\udfff]')
_SURPLUS = 'surplus cells'  # key of the cells beyond the named columns

Row = dict[str, Any]


@dataclass(frozen=True)
class ManifestRow:
    """A checked row of a manifest.

    Args:
        place: the manifest and the line or entry in it, for messages.
        file: file of the sequence, which may be missing.
        name: name of the sequence.
        label: label as written, empty if not given.
        splits: splits that the sequence belongs to.
        subject, camera: numbers or names, None if not given.
        start, end: first frame of the sequence and the one after the last; None for all.
        img_shape: height and width of the picture, None if not given.
    """

    place: str
    file: Recording
    name: str
    label: str
    splits: tuple[str, ...]
    subject: int | str | None
    camera: int | str | None
    start: int | None = None
    end: int | None = None
    img_shape: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f'{self.place} ({self.file.name})'


def _read_json(text: str) -> Iterator[tuple[str, Row]]:
    """Yield place and cells of each object of a list or of JSON lines."""
    if text.lstrip().startswith('['):
        rows = ((f'entry {number}', row) for number, row in enumerate(load_json(text), 1))
    else:
        rows = (
            (f'line {number}', line)
            for number, line in enumerate(io.StringIO(text), 1)
            if line.strip()
        )

    for place, row in rows:
        if isinstance(row, str):
            try:
                row = load_json(row)
            except RecordingError as error:
                raise ValueError(
                    f'{place} {error}; write a list of objects, or one object per line'
                ) from error
        if not isinstance(row, dict):
            raise ValueError(
                f'{place} is not an object such as {{"path": "a.npy", "label": "walk"}}'
            )
        yield place, row


def _read_csv(text: str) -> Iterator[tuple[str, Row]]:
    """Yield place and cells of each line that is not empty."""
    head = text.partition('\n')[0]
    separator = next((mark for mark in SEPARATORS if mark in head), ',')
    lines = csv.DictReader(
        io.StringIO(text, newline=''), delimiter=separator, strict=True, restkey=_SURPLUS
    )
    try:
        columns = [name.strip().lower() for name in lines.fieldnames or []]
        if len(columns) > MAX_COLUMNS:
            raise ValueError(f'line 1 has {len(columns)} columns; the limit is {MAX_COLUMNS}')
        _check_columns(columns)
        lines.fieldnames = columns

        for row in lines:
            place = f'line {lines.line_num}'
            if _SURPLUS in row:
                raise ValueError(
                    f'{place} has {len(columns) + len(row[_SURPLUS])} cells, line 1 names '
                    f'{len(columns)} columns; put cells that hold {separator!r} in double quotes'
                )
            if any(cell and cell.strip() for cell in row.values()):
                yield place, row
    except csv.Error as error:
        raise ValueError(f'line {lines.reader.line_num} is not valid CSV ({error})') from error


def _check_columns(columns: list[str]) -> None:
    duplicates = [name for name in COLUMNS if columns.count(name) > 1]
    if duplicates or 'path' not in columns:
        problem = f'two columns {duplicates[0]}' if duplicates else 'no column path'
        raise ValueError(f'line 1 has {problem}; it must name the columns, {", ".join(COLUMNS)}')


def _is_text_or_int(value: Any) -> bool:
    return isinstance(value, (str, int))


def _to_text(row: Row, column: str) -> str:
    """Return a cell as text, empty if it is missing."""
    value = row.get(column)
    if value is None:
        return ''
    if column == 'split' and isinstance(value, list) and all(map(_is_text_or_int, value)):
        value = ';'.join(map(str, value))
    if isinstance(value, (list, dict)):
        raise ValueError(
            f'column {column}: holds a list or an object; it must be text or a whole number'
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not _is_text_or_int(value):
        raise ValueError(f'column {column}: {str(value)[:40]!r} is neither text nor a whole number')

    text = str(value).strip()
    if _CONTROL.search(text):
        raise ValueError(
            f'column {column}: {text[:40]!r} holds a line break or another control character'
        )
    return text


def _to_number_or_name(text: str) -> int | str | None:
    return int(text) if re.fullmatch('[0-9]{1,9}', text) else text or None


def _to_whole(text: str, column: str) -> int | None:
    """Return a cell as a whole number of at least 0, None if it is empty."""
    if not text:
        return None
    match = re.fullmatch(r'([0-9]{1,9})(\.0+)?', text)  # 12.0 is how pandas writes 12 among blanks
    if not match:
        raise ValueError(f'column {column}: {text[:40]!r} is not a whole number of at least 0')
    return int(match[1])


def _default_name(file: Recording, path: str, start: int | None, end: int | None) -> str:
    """Return the path without extension, and the frames if they are given."""
    name = split_extension(path)[0] if isinstance(file, SourceFile) else path
    if start is None and end is None:
        return name
    return f'{name}:{start or 0}-{"" if end is None else end}'


def _cut(fields: dict[str, Any], row: ManifestRow) -> dict[str, Any]:
    """Return the fields of the frames from ``start`` to before ``end``."""
    frames = fields['total_frames']
    start, end = row.start or 0, frames if row.end is None else row.end
    if end > frames or start >= frames:
        raise RecordingError(
            f'has {frames} frames, of which {row.place} wants {start} to {end}; count frames from '
            '0, and write the one after the last as end'
        )
    arrays = {
        name: np.ascontiguousarray(fields[name][:, start:end])
        for name in ('keypoint', 'keypoint_score', 'track_ids')
        if name in fields
    }
    return {**fields, **arrays, 'total_frames': end - start}


def _set_size(fields: dict[str, Any], size: tuple[int, int] | None) -> dict[str, Any]:
    """Return the fields with the size of the picture; fractions of the picture become pixels."""
    if size is None:
        return fields
    if fields.get('img_shape') == FRACTIONS:
        fields = {**fields, 'keypoint': fields['keypoint'] * np.float32(size[::-1])}
    return {**fields, 'img_shape': size}


def _parse_row(manifest: SourceFile, place: str, row: Row) -> ManifestRow:
    """Check the cells of a row."""
    cells = {column: _to_text(row, column) for column in COLUMNS}
    if not cells['path']:
        raise ValueError('column path: is empty')
    path = posixpath.normpath(cells['path'].replace('\\', '/'))
    if path.split('/')[0] == '..':
        raise ValueError(
            f'column path: {path!r} leads out of the folder of the manifest; move the file into it '
            'or give the absolute path'
        )

    full = os.path.join(os.path.dirname(manifest.path), path)
    file: Recording | None = None
    if os.path.isdir(full):
        file = frame_folder(full, path)
    elif os.path.isfile(full):
        file = SourceFile.of(full, path)
    file = file or SourceFile(full, path, 0, 0)

    start, end, width, height = (
        _to_whole(cells[column], column) for column in ('start', 'end', 'width', 'height')
    )
    if end is not None and end <= (start or 0):
        raise ValueError(f'column end: is {end}; it must be more than start, {start or 0}')
    if (width is None) != (height is None) or 0 in (width, height):
        raise ValueError('columns width and height: both must be given, above 0, or neither')
    splits = dict.fromkeys(split.strip() for split in cells['split'].split(';'))
    return ManifestRow(
        place=f'{manifest.path}, {place}',
        file=file,
        name=cells['name'] or _default_name(file, path, start, end),
        label=cells['label'],
        splits=tuple(filter(None, splits)),
        subject=_to_number_or_name(cells['subject']),
        camera=_to_number_or_name(cells['camera']),
        start=start,
        end=end,
        img_shape=None if width is None else (height, width),
    )


def number_labels(labels: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Map labels to numbers.

    Args:
        labels: label as written -> the first row that has it, for messages.

    Returns:
        The number of each label, and the class names if the labels are names.

    Raises:
        ValueError: if there are both names and numbers, or numbers other than 0 to 999999.
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
            raise ValueError(f'{row}, column label: {label!r} is not a valid label; {remedy}')

    if names:
        return {name: number for number, name in enumerate(names)}, names
    return {label: int(label) for label in labels}, []


class ManifestReader(OwnReader):
    """Your own recordings, listed in a manifest.

    Args:
        files: the manifest, nothing else.
        layout, missing, unit: see :class:`.own_reader.OwnReader`.

    Attributes:
        classes: class names by label, set by :meth:`recordings`; empty if labels are numbers.

    Raises:
        FileNotFoundError, ValueError: if the layout is not valid, see
            :func:`aimclr_mm.skeletons.get_layout`.
    """

    name = 'custom'
    options = ('layout', 'missing', 'unit')

    def __init__(
        self,
        files: Sequence[SourceFile],
        layout: str | Mapping | Layout = 'ntu25',
        missing: str = MISSING[0],
        unit: str | None = None,
    ) -> None:
        super().__init__(files, layout, missing, unit)
        self.classes: list[str] = []
        self._labels: dict[str, int] = {}

    def recordings(self) -> list[ManifestRow]:
        """Return the rows of the manifest in its order.

        Raises:
            ValueError: if the manifest is damaged or contradicts itself; the message names file,
                row and column.
        """
        manifest = self._manifest()
        try:
            rows = list(self._parse(manifest))
            self._check_names(rows)
            self._labels, self.classes = number_labels(_first_rows(rows))
        except ValueError as error:
            raise ValueError(f'{manifest}: {error}') from error

        if not rows:
            raise ValueError(f'{manifest}: lists no sequence; write a row with the path of each')
        return [row for _, row in rows]

    def read(self, recording: ManifestRow) -> list[dict]:
        """Read one sequence; :meth:`splits` removes its splits from the annotation."""
        fields = read_fields(recording.file, self._joints)
        annotation = dict(
            frame_dir=recording.name,
            **_set_size(_cut(fields, recording), recording.img_shape),
            splits=list(recording.splits),
            camera=recording.camera,
            label=self._labels.get(recording.label),
            subject=recording.subject,
        )
        known = {key: value for key, value in annotation.items() if value is not None}
        return [self.finish(known)]

    def splits(self, annotation: dict) -> list[str]:
        """Return the splits that the manifest names."""
        return annotation.pop('splits')

    def _manifest(self) -> SourceFile:
        """Return the only source file."""
        if len(self.files) == 1 and not self.files[0].archived:
            return self.files[0]

        found = f'{len(self.files)} files'
        if len(self.files) == 1:
            found = f'an archive ({self.files[0].path})'
        raise ValueError(
            f'{self.name} needs one manifest, a CSV or JSON file that lists the sequences, but the '
            f'source is {found}; unpack archives and give the manifest itself'
        )

    def _parse(self, manifest: SourceFile) -> Iterator[tuple[str, ManifestRow]]:
        """Yield place and content of each row; note unknown columns."""
        try:
            text = manifest.read(MAX_TEXT).decode('utf-8-sig')
        except UnicodeDecodeError as error:
            raise ValueError(
                f'is not UTF-8 text ({error}); save it as "CSV UTF-8" or JSON'
            ) from error

        is_json = manifest.name.lower().endswith(JSON_EXTENSIONS)
        unknown: set[str] = set()
        rows = _read_json(text) if is_json else _read_csv(text)
        for number, (place, row) in enumerate(rows, 1):
            if number > MAX_ROWS:
                raise ValueError(f'lists more than {MAX_ROWS} sequences; split it')
            unknown.update(filter(None, set(row).difference(COLUMNS)))
            try:
                yield place, _parse_row(manifest, place, row)
            except ValueError as error:
                raise ValueError(f'{place}, {error}') from error

        if unknown:
            columns = sorted(unknown)
            reason = f'unknown columns of the manifest: {", ".join(map(repr, columns))}'
            self.left_out[reason] = columns

    @staticmethod
    def _check_names(rows: list[tuple[str, ManifestRow]]) -> None:
        places: dict[str, str] = {}
        for place, row in rows:
            if row.name in places:
                raise ValueError(
                    f'{place}: the name {row.name!r} is also that of {places[row.name]}; give them '
                    'different names in the column name'
                )
            places[row.name] = place


def _first_rows(rows: list[tuple[str, ManifestRow]]) -> dict[str, str]:
    """Return label -> place of the first row that has it."""
    places: dict[str, str] = {}
    for place, row in rows:
        if row.label:
            places.setdefault(row.label, place)
    return places
