"""Pickles in mmaction2's or PYSKL's pose format, which are used as they are after a check.

Both projects publish such files (``ntu60_3d.pkl`` and ``ntu60_2d.pkl``, ``ntu60_3danno.pkl`` and
``ntu60_hrnet.pkl``) and describe them in ``tools/data/skeleton/README.md`` and
``tools/data/README.md``: a dict of ``split`` and ``annotations``, or only the list of annotations,
with ``frame_dir``, ``label``, ``total_frames``, ``keypoint`` (M, T, V, C), mostly float16, and for
two coordinates ``keypoint_score`` (M, T, V) and ``img_shape`` (height, width).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from aimclr_mm.datasets.annotations import (
    check_annotation,
    check_mapping,
    load_annotations,
    map_annotation,
    stated_layout,
    write_pickle,
)
from aimclr_mm.datasets.checks import (
    array_defects,
    is_whole,
    label_defects,
    name_of,
    overlaps,
    warnings,
)
from aimclr_mm.datasets.summary import Summary
from aimclr_mm.skeletons import Layout, get_layout

from .ntu import NTU60, NTU120


def published_counts(num_classes: int, splits: Iterable[str]) -> dict[str, int]:
    """Return the published numbers of sequences of NTU-60 or NTU-120, empty for other data sets.

    Args:
        num_classes: number of classes of the data at hand.
        splits: its splits.
    """
    splits = set(splits)
    for data_set in (NTU60, NTU120):
        if num_classes == data_set.num_classes and splits <= set(data_set.published):
            return {split: count for split, count in data_set.published.items() if split in splits}
    return {}


def verify(path: str, layout: str | Mapping | Layout | None = None) -> Summary:
    """Check every sequence of a pickle in mmaction2's pose format.

    The checks cover shape and values of ``keypoint`` and ``keypoint_score``; ``total_frames``,
    ``label`` and, where it is given, ``img_shape``; equal joints in all sequences; duplicate
    names; and that splits and annotations name the same sequences.

    Args:
        path: the file.
        layout: joint layout that the sequences must have; any by default.

    Returns:
        Contents of the file. ``problems`` has one line per defect, which begins with the name of
        the sequence; sequences with a defect of their own are not counted. Published numbers are
        included if the file looks like NTU-60 or NTU-120.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is damaged, holds no sequence, or is of an unsupported form.
    """
    data = load_annotations(path)
    annotations = data['annotations']
    if not annotations:
        raise ValueError(f'{path!r} holds no annotations')
    _refuse_other_forms(path, annotations)

    summary = Summary(heading='defects')
    layout = None if layout is None else get_layout(layout)
    names = _check_annotations(annotations, path, layout, summary)
    _check_splits(data['split'], names, summary)

    classes = len(set(summary.labels) - {None})
    summary.published = published_counts(classes, data['split'])
    if summary.published:
        summary.num_classes = classes
    return summary


def map_pickle(
    path: str,
    out: str,
    target: str | Mapping | Layout,
    source: str | Mapping | Layout | None = None,
) -> None:
    """Write a verified annotation file in another joint layout.

    Args:
        path: the file.
        out: file to write.
        target: layout to map the sequences to, see :func:`aimclr_mm.skeletons.map_layout`.
        source: layout of the file; the one that it states if not given.

    Raises:
        ValueError: if the source is unknown, or there are no rules for the two layouts.
    """
    data = load_annotations(path)
    metainfo = data['metainfo']
    known = stated_layout(metainfo, path) if source is None else get_layout(source)
    if known is None:
        raise ValueError(f'{path!r} states no layout; give it by --layout')
    if metainfo.get('preprocessed'):
        raise ValueError(f'{path!r} holds centered sequences; map the original ones')

    target = get_layout(target)
    check_mapping(known, target)
    data['annotations'] = [
        map_annotation(annotation, known, target) for annotation in data['annotations']
    ]
    data['metainfo'] = dict(metainfo, layout=target.to_config())
    write_pickle(data, out)


def _refuse_other_forms(path: str, annotations: list) -> None:
    """Raise ValueError for the files of Kinetics-400, whose skeletons are stored elsewhere."""
    for annotation in annotations:
        if not isinstance(annotation, dict):
            continue
        has_scores_only = 'keypoint' not in annotation and {'box_score', 'valid'} & set(annotation)
        if 'raw_file' in annotation or has_scores_only:
            raise ValueError(
                f'{path!r} is a table of contents: the keypoints of {name_of(annotation)!r} are in '
                'another file (Kinetics-400 of mmaction2 and PYSKL). Such files are not supported; '
                "make one that holds 'keypoint' (people, frames, joints, coordinates) itself"
            )
        if 'frame_inds' in annotation and getattr(annotation.get('keypoint'), 'ndim', 0) == 3:
            raise ValueError(
                f"{path!r} is compressed: {name_of(annotation)!r} lists skeletons by 'frame_inds'. "
                "Apply mmaction2's DecompressPose to its annotations and save them again"
            )


def _check_annotations(
    annotations: list, path: str, layout: Layout | None, summary: Summary
) -> list[str]:
    """Count the valid sequences, report the others, and return the names of all."""
    usual_joints = None if layout else _most_common_joints(annotations)
    names = []
    for place, annotation in enumerate(annotations):
        name = name_of(annotation)
        title = name if isinstance(name, str) else f'annotation {place}'
        names.append(title)

        defects = list(_find_defects(annotation, path, layout, usual_joints))
        if name is not None and not isinstance(name, str):
            defects.append(f'its name is {name!r}; it must be text')
        if defects:
            summary.problems += [f'{title}: {defect}' for defect in defects]
        else:
            summary.add(annotation, [*warnings(annotation), *_remarks(annotation)])

    summary.problems += [
        f'{name}: {count} annotations have this name'
        for name, count in Counter(names).items()
        if count > 1
    ]
    return names


def _most_common_joints(annotations: list) -> int | None:
    """Return the most common number of joints."""
    counts = Counter(
        annotation['keypoint'].shape[2]
        for annotation in annotations
        if isinstance(annotation, dict) and getattr(annotation.get('keypoint'), 'ndim', 0) == 4
    )
    return counts.most_common(1)[0][0] if counts else None


def _find_defects(
    annotation: Any, path: str, layout: Layout | None, usual_joints: int | None
) -> Iterator[str]:
    """Yield the defects of an annotation; other fields are skipped if its structure is wrong."""
    try:
        check_annotation(annotation, os.path.basename(path), layout.num_joints if layout else None)
    except ValueError as error:
        yield str(error)
        return

    yield from array_defects(annotation, layout)
    yield from _field_defects(annotation)
    joints = annotation['keypoint'].shape[2]
    if usual_joints is not None and joints != usual_joints:
        yield f'has {joints} joints; most have {usual_joints}'


def _field_defects(annotation: Mapping) -> Iterator[str]:
    """Yield the defects of the fields except the arrays."""
    frames = annotation['keypoint'].shape[1]
    stated = annotation.get('total_frames')
    if not is_whole(stated) or stated != frames:
        yield f'total_frames is {stated}, but keypoint has {frames} frames'

    yield from label_defects(annotation)

    if not isinstance(annotation.get('subject', 0), (int, np.integer, str)):
        yield f'subject is {annotation["subject"]!r}; it must be a number or a name'

    size = annotation.get('img_shape')
    is_size = isinstance(size, (tuple, list)) and len(size) == 2
    if size is not None and not (is_size and all(is_whole(side, 1) for side in size)):
        yield f'img_shape is {size!r}; it must be the height and the width of the image'


def _remarks(annotation: Mapping) -> list[str]:
    """Return warnings about fields, as clauses whose subject is "N sequences"."""
    if annotation['keypoint'].shape[3] == 2 and annotation.get('img_shape') is None:
        return ['have no img_shape, so PreNormalize2D takes that of the config']
    return []


def _check_splits(splits: Mapping[str, Any], names: list[str], summary: Summary) -> None:
    """Count the sequences of each split; report names without sequence and without split."""
    known = set(names)
    used: set[str] = set()
    for split, members in splits.items():
        counts = Counter(members)
        used.update(counts)
        summary.splits[str(split)] = len(known & set(counts))
        summary.problems += [
            f'{name}: is in split {split} but has no annotation'
            for name in counts
            if name not in known
        ]
        summary.problems += [
            f'{name}: is {count} times in split {split}'
            for name, count in counts.items()
            if count > 1
        ]

    summary.problems += overlaps(splits)
    if splits:
        unused = [name for name in dict.fromkeys(names) if name not in used]
        summary.problems += [f'{name}: is in no split' for name in unused]
