"""Sequences from files of any supported format, one by one, as an interface for people takes them."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from aimclr_mm.datasets.annotations import load_annotations
from aimclr_mm.datasets.checks import filter_valid, name_of
from aimclr_mm.datasets.readers import RecordingError, SourceFile
from aimclr_mm.datasets.readers.ntu import MAX_FILE, choose_bodies, read_bodies
from aimclr_mm.datasets.readers.utd_mhad import read_skeleton
from aimclr_mm.skeletons import Layout, get_layout

from .fields import as_fields, read_fields
from .manifest import Custom
from .sequences import check_sequence

PathLike = str | os.PathLike
HEAD = 2**16  # bytes in which a manifest shows that it is one


def _read_ntu(file: SourceFile, layout: Layout) -> dict:
    return as_fields(
        *check_sequence(choose_bodies(read_bodies(file.read(MAX_FILE)), 'first'), None, layout)
    )


def _read_utd(file: SourceFile, layout: Layout) -> dict:
    return as_fields(*check_sequence(read_skeleton(file.read()), None, layout))


_READERS: dict[str, Callable[[SourceFile, Layout], dict]] = {
    **dict.fromkeys(('.npy', '.npz', '.csv', '.txt', '.json'), read_fields),
    '.skeleton': _read_ntu,
    '.mat': _read_utd,
}
EXTENSIONS = (*_READERS, '.pkl', '.jsonl', '.ndjson')


def _is_manifest(path: str) -> bool:
    """Whether a .csv or .json file lists sequences instead of being one: it names a column ``path``."""
    extension = os.path.splitext(path)[1].lower()
    with open(path, 'rb') as file:
        head = file.read(HEAD).decode('utf-8-sig', errors='replace')
    if extension == '.csv':
        first = head.partition('\n')[0]
        return any(
            'path' in [cell.strip().lower() for cell in row]
            for mark in ',;\t'
            for row in csv.reader([first], delimiter=mark)
        )
    return (
        extension in ('.jsonl', '.ndjson')
        or extension == '.json'
        and '"path"' in head
        and '"instances"' not in head
    )


def _from_manifest(path: str, layout: Layout) -> list[dict]:
    reader = Custom([SourceFile.of(path, os.path.basename(path))], layout)
    found = []
    for recording in reader.recordings():
        try:
            (annotation,) = reader.read(recording)
        except RecordingError as error:
            raise ValueError(f'{recording}: {error}') from error
        annotation.update(source=path, label=recording.label or None)
        annotation.pop('splits')
        found.append(annotation)
    return found


def _from_annotations(path: str, layout: Layout, label: str | None) -> list[dict]:
    data = load_annotations(path)
    annotations, _ = filter_valid(data['annotations'], path, layout, drop=False)
    if not annotations:
        raise ValueError(f'{path!r} holds no sequences')
    if data['metainfo'].get('preprocessed'):
        raise ValueError(
            f'{path!r} holds sequences that are preprocessed already; give original ones'
        )
    classes = data['metainfo'].get('classes') or []
    return [
        {
            **a,
            'frame_dir': name_of(a),
            'source': path,
            'label': _class_name(a.get('label'), classes) or label,
        }
        for a in annotations
    ]


def _class_name(label: int | None, classes: Sequence[str]) -> str | None:
    if label is None:
        return None
    return str(classes[label]) if 0 <= label < len(classes) else str(label)


def _from_file(path: str, layout: Layout, label: str | None = None) -> list[dict]:
    """The sequences of one file."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in EXTENSIONS:
        raise ValueError(
            f'{path!r} has the extension {extension!r}; known are {", ".join(EXTENSIONS)}'
        )
    if extension == '.pkl':
        return _from_annotations(path, layout, label)
    if extension in ('.csv', '.json', '.jsonl', '.ndjson') and _is_manifest(path):
        return _from_manifest(path, layout)
    try:
        fields = _READERS[extension](SourceFile.of(path, os.path.basename(path)), layout)
    except RecordingError as error:
        raise ValueError(f'{path!r}: {error}') from error
    return [dict(frame_dir=path, source=path, label=label, **fields)]


def _from_folder(folder: str, layout: Layout) -> list[dict]:
    """The sequences of all files below a folder; what lies in folders of it has their names as labels."""
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        label = None if os.path.samefile(root, folder) else os.path.basename(root)
        for name in sorted(names):
            if not name.startswith('.') and name.lower().endswith(EXTENSIONS):
                found += _from_file(os.path.join(root, name), layout, label)
    if not found:
        raise ValueError(
            f'folder {folder!r} holds no file {", ".join(f"*{e}" for e in EXTENSIONS)}'
        )
    return found


def read_recordings(
    sources: PathLike | Sequence[PathLike], layout: str | Mapping | Layout = 'ntu25'
) -> list[dict]:
    """Sequences from files and folders.

    ======================================  ========================================================================
    ``.npy .npz .csv .txt .json``           one sequence, see :mod:`aimclr_mm.datasets.own_files.sequences`
    ``.csv .json .jsonl`` with ``path``     a manifest, see :mod:`aimclr_mm.datasets.own_files.manifest`
    ``.skeleton``, ``.mat``                 a recording of NTU RGB+D (first two bodies) or of UTD-MHAD
    ``.pkl``                                an annotation file of mmaction2, PYSKL or ``tools/prepare_data.py``
    folder                                  all of these in it; the name of a folder in it is the label of its files
    ======================================  ========================================================================

    Args:
        sources: one or several paths.
        layout: joint layout of the sequences.

    Returns:
        Annotations of mmaction2's pose format: ``frame_dir`` (the path of the file, or the name in an annotation file
        or manifest), ``keypoint`` (M, T, V, C) float32 in the unit of the file, ``total_frames``, perhaps
        ``keypoint_score`` (M, T, V), ``label`` (text, None if not known), and ``source``, the path of the file.

    Raises:
        FileNotFoundError: if a source does not exist.
        ValueError: if one cannot be read or is of another layout, or if two sequences have the same name.
    """
    layout, found = get_layout(layout), []
    for source in [sources] if isinstance(sources, (str, os.PathLike)) else sources:
        path = os.fspath(source)
        if not os.path.exists(path):
            raise FileNotFoundError(f'{path!r} does not exist; give files or folders of recordings')
        found += _from_folder(path, layout) if os.path.isdir(path) else _from_file(path, layout)
    check_names(annotation['frame_dir'] for annotation in found)
    return found


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError if two sequences have the same name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f'two sequences have the name {name!r}; give each source once')
        seen.add(name)


def as_annotations(sequences: Any, layout: Layout) -> list[dict]:
    """Sequences in any form that :meth:`~aimclr_mm.apis.EmbeddingInferencer.embed` takes, as checked annotations.

    Args:
        sequences: an array (T, V, C) or (M, T, V, C); a path; an annotation; or a list of these.
        layout: joint layout that they must have.

    Raises:
        FileNotFoundError, ValueError: see :func:`read_recordings`; the message names the place in the list.
    """
    single = isinstance(sequences, (str, os.PathLike, Mapping)) or hasattr(sequences, 'ndim')
    items, found = [sequences] if single else sequences, []
    if not isinstance(items, (list, tuple)) or not items:
        raise ValueError(
            f'sequences={str(sequences)[:80]}; give an array (frames, joints, channels), a path, or a '
            'list of these'
        )
    for place, item in enumerate(items):
        if isinstance(item, (str, os.PathLike)):
            found += read_recordings(item, layout)
        elif isinstance(item, Mapping):
            found.append({'frame_dir': f'sequence {place}', **item})
        else:
            found.append(_from_array(item, place, layout))
    unnamed = [
        {**a, 'frame_dir': f'{place}: {a["frame_dir"]}', 'label': None}
        for place, a in enumerate(found)
    ]
    annotations, _ = filter_valid(unnamed, 'sequences', layout, drop=False)
    return [{**a, 'frame_dir': name_of(given)} for a, given in zip(annotations, found)]


def _from_array(item: Any, place: int, layout: Layout) -> dict:
    array = np.asarray(item.detach().cpu() if hasattr(item, 'detach') else item)
    if array.dtype.kind not in 'fiu' or array.ndim not in (3, 4):
        raise ValueError(
            f'sequence {place} has shape {array.shape} and type {array.dtype}; give numbers (frames, '
            'joints, channels) or (people, frames, joints, channels), and several sequences as a list'
        )
    try:
        return dict(
            frame_dir=f'sequence {place}', **as_fields(*check_sequence(array, None, layout))
        )
    except RecordingError as error:
        raise ValueError(f'sequence {place} {error}') from error
