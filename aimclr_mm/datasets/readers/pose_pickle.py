"""Pickles in mmaction2's or PYSKL's pose format: used as they are, after a look at every sequence.

Both projects publish such files (``ntu60_3d.pkl`` and ``ntu60_2d.pkl``, ``ntu60_3danno.pkl`` and ``ntu60_hrnet.pkl``)
and describe them in ``tools/data/skeleton/README.md`` and ``tools/data/README.md``: a dict of ``split`` and
``annotations``, or just the list of annotations, with ``frame_dir``, ``label``, ``total_frames``, ``keypoint``
(M, T, V, C), mostly float16, and for two coordinates ``keypoint_score`` (M, T, V) and ``img_shape`` (height, width).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from aimclr_mm.datasets.annotations import check_annotation, load_annotations
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
    """How many sequences NTU-60 or NTU-120 has in each of these splits; nothing if it is neither of them.

    Args:
        num_classes: of the data at hand.
        splits: their splits.
    """
    splits = set(splits)
    for data_set in (NTU60, NTU120):
        if num_classes == data_set.num_classes and splits <= set(data_set.published):
            return {split: count for split, count in data_set.published.items() if split in splits}
    return {}


def _refuse_other_forms(path: str, annotations: list) -> None:
    """Raises ValueError for Kinetics-400's files, whose skeletons lie elsewhere or frame by frame."""
    for annotation in annotations:
        if not isinstance(annotation, dict):
            continue
        if (
            'raw_file' in annotation
            or 'keypoint' not in annotation
            and {'box_score', 'valid'} & set(annotation)
        ):
            raise ValueError(
                f'{path!r} is a table of contents: the keypoints of {name_of(annotation)!r} lie in '
                "another file (mmaction2's and PYSKL's Kinetics-400). Such files are not supported; make "
                "one that holds 'keypoint' (people, frames, joints, coordinates) itself"
            )
        if 'frame_inds' in annotation and getattr(annotation.get('keypoint'), 'ndim', 0) == 3:
            raise ValueError(
                f"{path!r} is compressed: {name_of(annotation)!r} lists skeletons by 'frame_inds'. Apply "
                "mmaction2's DecompressPose to its annotations and save them again"
            )


def _field_defects(annotation: Mapping) -> Iterator[str]:
    """What is wrong with the other fields."""
    _, frames, _, dims = annotation['keypoint'].shape
    if not is_whole(annotation.get('total_frames')) or annotation['total_frames'] != frames:
        yield f'total_frames is {annotation.get("total_frames")}, but keypoint has {frames} frames'
    yield from label_defects(annotation)
    if not isinstance(annotation.get('subject', 0), (int, np.integer, str)):
        yield f'subject is {annotation["subject"]!r}; it must be a number or a name'
    if dims == 2:
        size = annotation.get('img_shape')
        if (
            not isinstance(size, (tuple, list))
            or len(size) != 2
            or not all(is_whole(side, 1) for side in size)
        ):
            yield f'img_shape is {size!r}; two coordinates need the height and the width of the image'


def _check_annotations(
    annotations: list, path: str, layout: Layout | None, summary: Summary
) -> list[str]:
    """Counts the sound sequences and reports the others; returns the names of all."""
    joints = layout.num_joints if layout else None
    widths = Counter(
        a['keypoint'].shape[2]
        for a in annotations
        if isinstance(a, dict) and getattr(a.get('keypoint'), 'ndim', 0) == 4
    )
    names = []
    for place, annotation in enumerate(annotations):
        name = name_of(annotation)
        title = name if isinstance(name, str) else f'annotation {place}'
        try:
            check_annotation(annotation, os.path.basename(path), joints)
        except ValueError as error:
            defects = [str(error)]
        else:
            defects = [*array_defects(annotation, layout), *_field_defects(annotation)]
            usual, width = widths.most_common(1)[0][0], annotation['keypoint'].shape[2]
            if layout is None and width != usual:
                defects.append(f'has {width} joints; most have {usual}')
        if name is not None and not isinstance(name, str):
            defects.append(f'its name is {name!r}; it must be text')
        summary.problems += [f'{title}: {defect}' for defect in defects]
        if not defects:
            summary.add(annotation, warnings(annotation))
        names.append(title)
    summary.problems += [
        f'{name}: {count} annotations have this name'
        for name, count in Counter(names).items()
        if count > 1
    ]
    return names


def _check_splits(splits: Mapping[str, Any], names: list[str], summary: Summary) -> None:
    """Counts the sequences of each split; reports names without sequence and sequences without split."""
    known, used = set(names), set()
    for split, members in splits.items():
        counts = Counter(members)
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
        used |= set(counts)
    summary.problems += overlaps(splits)
    if splits:
        summary.problems += [
            f'{name}: is in no split' for name in dict.fromkeys(names) if name not in used
        ]


def verify(path: str, layout: str | Mapping | Layout | None = None) -> Summary:
    """Looks at every sequence of a pickle in mmaction2's pose format.

    Checked are: the shape and the numbers of ``keypoint`` and ``keypoint_score``; ``total_frames``, ``label`` and, for
    two coordinates, ``img_shape``; that all have the same joints; names that occur twice; and that splits and
    annotations name the same sequences.

    Args:
        path: the file.
        layout: joint layout that the sequences must have; any if not given.

    Returns:
        What the file holds. ``problems`` has one line for each defect, with the sequence's name first; a sequence with
        a defect of its own is not counted. Published numbers are there if the file looks like NTU-60 or NTU-120.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it is damaged, holds no sequence, or is of a form that cannot be used at all.
    """
    data = load_annotations(path)
    if not data['annotations']:
        raise ValueError(f'{path!r} holds no annotations')
    _refuse_other_forms(path, data['annotations'])
    summary = Summary(heading='defects')
    names = _check_annotations(
        data['annotations'], path, None if layout is None else get_layout(layout), summary
    )
    _check_splits(data['split'], names, summary)
    classes = len(set(summary.labels) - {None})
    summary.published = published_counts(classes, data['split'])
    if summary.published:
        summary.num_classes = classes
    return summary
