"""Read sequences from paths, arrays and annotations, the inputs of the Python interface."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from aimclr_mm.datasets.annotations import load_annotations, map_annotation, stated_layout
from aimclr_mm.datasets.checks import filter_valid, name_of
from aimclr_mm.datasets.readers import RecordingError, SourceFile, list_files
from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.utils.files import open_regular
from aimclr_mm.utils.terminal import printable

from . import fields as formats
from .cleaning import Report, clean
from .conventions import to_meters
from .fields import (
    Recording,
    as_fields,
    frame_folder,
    group_frames,
    layout_of,
    read_fields,
    split_extension,
    zero_missing,
)
from .manifest import SEPARATORS, ManifestReader, ManifestRow
from .people import put_in_rows

PathLike = str | os.PathLike
HEAD = 2**16  # bytes that are enough to recognize a manifest
EXAMPLES = 3  # recordings in a message
LISTS = ('.jsonl', '.ndjson')  # manifests
EXTENSIONS = (*formats.EXTENSIONS, *LISTS)


class UnreadableError(ValueError):
    """One recording of several that cannot be read."""


def read_recordings(
    sources: PathLike | Sequence[PathLike],
    layout: str | Mapping | Layout = 'ntu25',
    target: str | Mapping | Layout | None = None,
    missing: str = 'keep',
    unit: str | None = 'm',
) -> list[dict]:
    """Read the sequences of files and folders.

    ==================================  ============================================================
    ``.pkl``                            an annotation file of mmaction2, PYSKL or
                                        ``tools/prepare_data.py``
    ``.csv .json .jsonl`` with          a manifest, see :mod:`aimclr_mm.datasets.own_files.manifest`
    ``path``
    other files                         one sequence, see :mod:`aimclr_mm.datasets.own_files.fields`
    folder of ``*_keypoints.json``      one sequence
    other folder                        all of these in it; the label of a file is the name of its
                                        folder, below the given one
    ==================================  ============================================================

    Args:
        sources: one or several paths.
        layout: joint layout of the sequences. With ``target``, files that tell their layout
            (``.skeleton``, ``.mat``, annotation files that state it) may have another one.
        target: layout to map the sequences to, see :func:`aimclr_mm.skeletons.map_layout`.
        missing: what to do with frames without a body and with missing joints: ``interpolate``,
            ``drop`` or ``keep``, see :mod:`aimclr_mm.datasets.own_files.cleaning`. Encoders do it
            with all sequences that they are given.
        unit: unit of 3-D coordinates, ``cm`` or ``mm``, which become meters; ``m``: they are used
            as they are; None: the same, but people of an impossible size are refused.

    Returns:
        Annotations in mmaction2's pose format: ``frame_dir`` (path of the file, or the name in an
        annotation file or manifest), ``keypoint`` (M, T, V, C) float32 in the unit of the file,
        ``total_frames``, optionally ``keypoint_score`` (M, T, V), ``label`` (text, None if
        unknown), and ``source``, the path of the file. Mapped ones have ``mapped_from``, the name
        of their own layout.

    Raises:
        FileNotFoundError: if a source does not exist.
        ValueError: if a source cannot be read or is of another layout, or if two sequences have the
            same name. Recordings of a folder or manifest that cannot be read are left out and
            logged, unless there is no other.
    """
    layout = get_layout(layout)
    found = read_sources(sources, layout)
    if target is None:
        for annotation in found:
            own = annotation['layout']
            if own.joints != layout.joints:
                raise ValueError(
                    f'{annotation["source"]!r} has the {own.num_joints} joints of layout '
                    f'{own.name!r}, not the {layout.num_joints} of {layout.name!r}'
                )
    return finish(found, layout if target is None else get_layout(target), missing, unit)


def read_sources(sources: PathLike | Sequence[PathLike], layout: Layout) -> list[dict]:
    """Read sequences as :func:`read_recordings` does, as they are, with their own ``layout``."""
    found = []
    for source in [sources] if isinstance(sources, (str, os.PathLike)) else sources:
        path = os.fspath(source)
        if not os.path.exists(path):
            raise FileNotFoundError(f'{path!r} does not exist; give files or folders of recordings')
        if os.path.isdir(path):
            found += _from_folder(path, layout)
        else:
            found += _from_file(SourceFile.of(path, os.path.basename(path)), layout)
    check_names(annotation['frame_dir'] for annotation in found)
    return found


def finish(
    annotations: Sequence[dict],
    target: Layout,
    missing: str,
    unit: str | None,
    report: Report | None = None,
) -> list[dict]:
    """Bring sequences to meters, clean them, see :mod:`.cleaning`, and map them to a layout.

    Args:
        annotations: each with its own ``layout``.
        target: layout of the result.
        missing: one of :data:`~.cleaning.MISSING`.
        unit: see :func:`~.conventions.to_meters`.
        report: counts what was found.
    """
    result = []
    for annotation in annotations:
        layout = annotation['layout']
        try:
            annotation = to_meters(annotation, layout, unit)
        except ValueError as error:
            raise ValueError(f'{annotation["frame_dir"]!r} {error}') from error
        cleaned, found = clean(annotation, layout, missing)
        if report is not None:
            report.add(found)
        result.append(_map(cleaned, target))
    return result


def _map(annotation: dict, target: Layout) -> dict:
    """Return a checked annotation in the layout ``target`` instead of its own in ``layout``."""
    own = annotation['layout']
    annotation = {key: value for key, value in annotation.items() if key != 'layout'}
    if own.joints == target.joints:
        return annotation

    try:
        return dict(map_annotation(annotation, own, target), mapped_from=own.name)
    except ValueError as error:
        raise ValueError(f'{annotation["frame_dir"]!r}: {error}') from error


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError if two sequences have the same name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f'two sequences have the name {name!r}; give each source once')
        seen.add(name)


def _from_folder(path: str, layout: Layout) -> list[dict]:
    """Read all recordings below a folder; the names of its folders are labels."""
    if whole := frame_folder(path, os.path.basename(os.path.abspath(path))):
        return [_read(whole, layout, None)]

    listed = [file for file in list_files([path]) if not file.archived]
    lists = [file for file in listed if file.name.lower().endswith(LISTS)]
    files = sorted([*group_frames(listed), *lists], key=lambda file: file.name)
    if not files:
        patterns = ', '.join(f'*{extension}' for extension in EXTENSIONS)
        raise ValueError(f'folder {path!r} holds no file {patterns}')
    return _readable(path, files, lambda file: _from_file(file, layout, file.folder or None))


def _readable(
    source: str, recordings: Sequence[Any], read: Callable[[Any], list[dict]]
) -> list[dict]:
    """Read the recordings of a source; those that cannot be read are left out and logged."""
    found: list[dict] = []
    problems: list[str] = []
    for recording in recordings:
        try:
            found += read(recording)
        except UnreadableError as error:
            problems.append(str(error))
    if problems and not found:
        raise ValueError(
            f'none of {len(recordings)} recordings of {source!r} can be read; the first: '
            f'{problems[0]}'
        )
    if problems:
        more = f'; and {len(problems) - EXAMPLES} more' if len(problems) > EXAMPLES else ''
        MMLogger.get_current_instance().warning(
            f'{len(problems)} of {len(recordings)} recordings of {printable(source)} cannot be '
            f'read and are left out: {printable("; ".join(problems[:EXAMPLES]))}{more}'
        )
    return found


def _from_file(file: Recording, layout: Layout, label: str | None = None) -> list[dict]:
    """Read the sequences of one file, or of the files of its frames."""
    path = file.path
    if isinstance(file, SourceFile):
        extension = split_extension(path)[1]
        if not path.lower().endswith(EXTENSIONS):
            raise ValueError(
                f'{path!r} has the extension {extension!r}; known are {", ".join(EXTENSIONS)}'
            )
        if extension == '.pkl':
            return _from_annotations(path, layout, label)
        if _is_manifest(path, extension):
            return _from_manifest(path, layout)
    told = layout_of(file)
    recording = _read(file, told or layout, label)
    return [recording if told is None else dict(recording, unit='m')]  # they are in meters


def _read(file: Recording, layout: Layout, label: str | None) -> dict:
    """Read one sequence."""
    try:
        fields = zero_missing(read_fields(file, layout))
    except RecordingError as error:
        raise UnreadableError(f'{file.path!r}: {error}') from error
    return dict(frame_dir=file.path, source=file.path, label=label, layout=layout, **fields)


def _is_manifest(path: str, extension: str) -> bool:
    """Return whether a file lists sequences in a column ``path`` instead of holding one."""
    if extension in LISTS:
        return True
    if not path.lower().endswith(('.csv', '.json')):
        return False

    with open_regular(path) as file:
        head = file.read(HEAD).decode('utf-8-sig', errors='replace')
    if extension == '.json':
        return '"path"' in head and '"instances"' not in head

    first = head.partition('\n')[0]
    rows = [row for mark in SEPARATORS for row in csv.reader([first], delimiter=mark)]
    return any(cell.strip().lower() == 'path' for row in rows for cell in row)


def _from_manifest(path: str, layout: Layout) -> list[dict]:
    manifest = SourceFile.of(path, os.path.basename(path))
    reader = ManifestReader([manifest], layout, missing='keep', unit='m')

    def read(row: ManifestRow) -> list[dict]:
        try:
            (annotation,) = reader.read(row)
        except RecordingError as error:
            raise UnreadableError(f'{row}: {error}') from error
        annotation.update(source=path, label=row.label or None, layout=layout)
        del annotation['splits'], annotation['cleaned']
        return [annotation]

    return _readable(path, reader.recordings(), read)


def _from_annotations(path: str, layout: Layout, label: str | None) -> list[dict]:
    data = load_annotations(path)
    layout = stated_layout(data['metainfo'], path) or layout
    annotations, _ = filter_valid(data['annotations'], path, layout, drop=False)
    if not annotations:
        raise ValueError(f'{path!r} holds no sequences')
    if data['metainfo'].get('preprocessed'):
        raise ValueError(f'{path!r} holds preprocessed sequences; give the original ones')

    classes = data['metainfo'].get('classes') or []
    unit = {} if data['metainfo'].get('unit') is None else dict(unit='m')  # it was converted
    return [
        {
            **annotation,
            **unit,
            'frame_dir': name_of(annotation),
            'source': path,
            'layout': layout,
            'label': _class_name(annotation.get('label'), classes) or label,
        }
        for annotation in annotations
    ]


def _class_name(label: int | None, classes: Sequence[str]) -> str | None:
    if label is None or label < 0:
        return None
    return str(classes[label]) if label < len(classes) else str(label)


def as_annotations(
    sequences: Any,
    layout: Layout,
    source: str | Mapping | Layout | None = None,
    missing: str = 'keep',
    unit: str | None = 'm',
    report: Report | None = None,
) -> list[dict]:
    """Convert sequences in any supported form to checked annotations.

    Args:
        sequences: an array (T, V, C) or (M, T, V, C); a path; an annotation; or a list of these.
        layout: joint layout of the result.
        source: joint layout of the sequences, except for files that tell theirs; ``layout`` if not
            given. Sequences of another layout are mapped, see :func:`read_recordings`.
        missing, unit, report: see :func:`finish`.

    Raises:
        FileNotFoundError, ValueError: see :func:`read_recordings`; the message names the place in
            the list.
    """
    is_single = isinstance(sequences, (str, os.PathLike, Mapping)) or hasattr(sequences, 'ndim')
    items = [sequences] if is_single else sequences
    if not isinstance(items, (list, tuple)) or not items:
        raise ValueError(
            f'sequences={str(sequences)[:80]}; give an array (frames, joints, channels), a path, '
            'or a list of these'
        )

    source = layout if source is None else get_layout(source)
    found = []
    for place, item in enumerate(items):
        if isinstance(item, (str, os.PathLike)):
            found += read_sources(item, source)
            continue
        if isinstance(item, Mapping):
            annotation = {'frame_dir': f'sequence {place}', **item}
            numbered = [_numbered(place, annotation)]
            filter_valid(numbered, 'sequences', source, drop=False)
        else:
            annotation = _from_array(item, place, source)
        found.append({**annotation, 'layout': source})

    found = finish(found, layout, missing, unit, report)
    numbered = [_numbered(place, annotation) for place, annotation in enumerate(found)]
    checked, _ = filter_valid(numbered, 'sequences', layout, drop=False)
    return [
        {**annotation, 'frame_dir': name_of(given)} for annotation, given in zip(checked, found)
    ]


def _numbered(place: int, annotation: dict) -> dict:
    """Return an annotation for the check, which demands unique names and integer labels."""
    return {**annotation, 'frame_dir': f'{place}: {annotation["frame_dir"]}', 'label': None}


def _from_array(item: Any, place: int, layout: Layout) -> dict[str, Any]:
    array = np.asarray(item.detach().cpu() if hasattr(item, 'detach') else item)
    if array.dtype.kind not in 'fiu' or array.ndim not in (3, 4):
        raise ValueError(
            f'sequence {place} has shape {array.shape} and type {array.dtype}; give numbers '
            '(frames, joints, channels) or (people, frames, joints, channels), and several '
            'sequences as a list'
        )
    try:
        fields = zero_missing(put_in_rows(as_fields(dict(keypoint=array), layout)))
    except RecordingError as error:
        raise ValueError(f'sequence {place} {error}') from error
    return dict(frame_dir=f'sequence {place}', **fields)
