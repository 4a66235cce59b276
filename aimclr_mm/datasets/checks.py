"""Holes in the data: what makes a sequence unusable, what is only odd about it, and how both are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aimclr_mm.skeletons import Layout

from .annotations import structure_defect

LARGEST = 1e6  # coordinate; beyond it float32 loses what is small, and its squares overflow
MAX_NAME = 1000  # characters; a list of names in NumPy is as wide as the longest
EXAMPLES = 3  # names in a message


def is_whole(value: Any, low: int = 0) -> bool:
    """Whether a value is a whole number, not less than ``low`` and no bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= low


def name_of(annotation: Any) -> Any:
    """The name of an annotation, None if it has none."""
    return (
        annotation.get('frame_dir', annotation.get('filename'))
        if isinstance(annotation, Mapping)
        else None
    )


def printable(text: str) -> str:
    """Text from a file, without characters that a terminal would act on."""
    return (
        text
        if text.isprintable()
        else ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    )


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    rest = len(names) - EXAMPLES
    return ', '.join(printable(name[:60]) for name in names[:EXAMPLES]) + (
        f' and {rest} more' if rest > 0 else ''
    )


def array_defects(annotation: Mapping, layout: Layout | None = None) -> Iterator[str]:
    """What is wrong with the arrays of an annotation whose keypoints have four axes.

    Args:
        annotation: the annotation.
        layout: whose coordinates the keypoints must have; any if not given.
    """
    keypoint = annotation['keypoint']
    for key, shape in dict(keypoint=keypoint.shape, keypoint_score=keypoint.shape[:3]).items():
        array = annotation.get(key)
        if array is None:
            continue
        if not isinstance(array, np.ndarray) or array.dtype.kind not in 'fiu':
            yield f'{key} holds no numbers'
            continue
        if array.shape != shape:
            yield f'{key} has shape {array.shape}; it must be {shape}'
            continue
        low, high = float(array.min()), float(array.max())
        if not -LARGEST <= low <= high <= LARGEST:  # not for NaN either
            broken = np.count_nonzero(~np.isfinite(array))
            yield f'{key} holds ' + (
                f'{broken} values that are not finite'
                if broken
                else f'{high if high > LARGEST else low:.6g}; beyond {LARGEST:.0f} is no coordinate'
            )
    if layout is not None and keypoint.shape[3] < layout.dims:
        yield f'has {keypoint.shape[3]} coordinates; layout {layout.name!r} has {layout.dims}'


def label_defects(annotation: Mapping, low: int = 0) -> Iterator[str]:
    """What is wrong with the label of an annotation, if it has one.

    Args:
        annotation: the annotation.
        low: smallest label.
    """
    label = annotation.get('label')
    if label is not None and not is_whole(label, low):
        yield f'label is {repr(label)[:40]}; it must be a whole number' + (
            f' from {low}' if low == 0 else ''
        )


def oddities(annotation: Mapping) -> list[str]:
    """What is odd about the keypoints of a sound annotation, each a clause about it and others."""
    keypoint = annotation['keypoint']
    people = keypoint.any(axis=(1, 2, 3))
    found = ['have one frame'] if keypoint.shape[1] == 1 else []
    if not people.any():
        return [*found, 'hold nothing but zeros']
    if not people[0]:
        found.append('have a first person who is zeros beside one who is not')
    if np.count_nonzero(~keypoint.any(axis=(0, 1, 3))) > 1:  # one may be the origin
        found.append('have joints that are always zero')
    if (
        keypoint.shape[1] > 1
        and (keypoint[:, 0] == keypoint[:, -1]).all()
        and (keypoint == keypoint[:, :1]).all()
    ):
        found.append('do not move')
    return found


def _defect(annotation: Any, layout: Layout | None) -> str:
    """The first thing that is wrong with an annotation, empty if nothing is."""
    if text := structure_defect(annotation, None if layout is None else layout.num_joints):
        return text
    name = name_of(annotation)
    if not isinstance(name, str) or len(name) > MAX_NAME:
        return f'a sequence has the name {str(name)[:40]!r}; it must be text of at most {MAX_NAME} characters'
    defects = (*array_defects(annotation, layout), *label_defects(annotation, low=-(2**63)))
    return f'{name!r}: {defects[0]}' if defects else ''


def sound(
    annotations: Sequence, path: str, layout: Layout | None, drop: bool
) -> tuple[list[dict], list[str]]:
    """The annotations that can be used, with the right ``total_frames``, and what is to be said of them.

    Args:
        annotations: of a file.
        path: the file, for messages.
        layout: that the sequences must have; any if not given.
        drop: whether those that cannot be used are left out.

    Returns:
        The annotations, and sentences that count what is odd.

    Raises:
        ValueError: if one cannot be used and is not to be left out, or if none can.
    """
    kept, refused, odd, names = [], [], {}, set()
    for annotation in annotations:
        name = name_of(annotation)
        defect = _defect(annotation, layout) or (
            name in names and f'{name!r} is the name of several sequences'
        )
        if defect:
            refused.append(defect)
            continue
        names.add(name)
        frames = annotation['keypoint'].shape[1]
        kinds = oddities(annotation)
        stated = annotation.get('total_frames', frames)
        if not is_whole(stated) or stated != frames:
            kinds.append(
                'had a total_frames that is not the number of their frames, which was corrected'
            )
        for kind in kinds:
            odd.setdefault(kind, []).append(name)
        kept.append(
            {
                key: value
                for key, value in {**annotation, 'total_frames': frames}.items()
                if key != 'label' or value is not None
            }
        )
    total = len(annotations)
    if refused and not (drop and kept):
        remedy = (
            ". Make the file anew, or set invalid='drop' of the data set to leave them out"
            if kept
            else ''
        )
        raise ValueError(
            f'{path!r}: {len(refused)} of {total} sequences cannot be used: '
            f'{"; ".join(refused[:EXAMPLES])}{remedy}'
        )
    notes = (
        [f'{len(refused)} of {total} sequences are left out: {"; ".join(refused[:EXAMPLES])}']
        if refused
        else []
    )
    return kept, notes + [
        f'{len(found)} of {total} sequences {kind}: {some(found)}' for kind, found in odd.items()
    ]


def split_notes(
    splits: Mapping[str, Sequence[str]], chosen: Sequence[str], annotations: Sequence
) -> list[str]:
    """What is odd about the splits that are used.

    Args:
        splits: of the file.
        chosen: names of the splits in use, one or two.
        annotations: all sequences that are there.
    """
    notes, known = (
        [],
        {name for annotation in annotations if isinstance(name := name_of(annotation), str)},
    )
    for split in dict.fromkeys(chosen):
        counts = Counter(splits[split])
        missing, twice = (
            [n for n in counts if n not in known],
            [n for n, count in counts.items() if count > 1],
        )
        if missing:
            notes.append(
                f'split {split!r} names {len(missing)} sequences that are not there: {some(missing)}'
            )
        if twice:
            notes.append(
                f'split {split!r} names {len(twice)} sequences more than once, which count once: '
                f'{some(twice)}'
            )
    return notes + (overlap(splits, *chosen) if len(set(chosen)) == 2 else [])


def overlap(splits: Mapping[str, Sequence[str]], first: str, second: str) -> list[str]:
    """A sentence about the sequences that two splits share; none if they share none."""
    both = sorted(set(splits[first]) & set(splits[second]))
    return (
        [
            f'{len(both)} sequences are in {first!r} and in {second!r}, so that an evaluation is not on unseen ones: '
            f'{some(both)}'
        ]
        if both
        else []
    )


def overlaps(splits: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each split ``train`` or ``<name>_train`` that shares sequences with its ``val`` or ``test``."""
    pairs = [
        (name, name.removesuffix('train') + other)
        for name in splits
        if name.endswith('train')
        for other in ('val', 'test')
    ]
    return [
        text
        for first, second in pairs
        if second in splits
        for text in overlap(splits, first, second)
    ]
