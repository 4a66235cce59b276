"""Checks of annotations: defects make a sequence unusable, warnings are counted and logged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.terminal import printable

from .annotations import structure_defect

LARGEST = 1e6  # coordinate; above it float32 loses small differences and squares may overflow
MAX_NAME = 1000  # characters; in a NumPy array every name takes the space of the longest
EXAMPLES = 3  # names in a message


def is_whole(value: Any, low: int = 0) -> bool:
    """Return whether a value is an integer of at least ``low``; booleans are not integers."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= low


def name_of(annotation: Any) -> Any:
    """Return the name of an annotation, None if it has none."""
    if not isinstance(annotation, (dict, Mapping)):  # a dict is recognized faster
        return None
    return annotation.get('frame_dir', annotation.get('filename'))


def abbreviate(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    text = ', '.join(printable(name[:60]) for name in names[:EXAMPLES])
    rest = len(names) - EXAMPLES
    return f'{text} and {rest} more' if rest > 0 else text


def array_defects(annotation: Mapping, layout: Layout | None = None) -> Iterator[str]:
    """Yield the defects of the arrays of an annotation whose keypoints have four axes.

    Args:
        annotation: the annotation.
        layout: the joint layout whose coordinates the keypoints must have; any if not given.
    """
    keypoint = annotation['keypoint']
    for key, shape in dict(keypoint=keypoint.shape, keypoint_score=keypoint.shape[:3]).items():
        array = annotation.get(key)
        if array is not None and (defect := _array_defect(array, shape)):
            yield f'{key} {defect}'

    if layout is not None and keypoint.shape[3] < layout.dims:
        yield f'has {keypoint.shape[3]} coordinates; layout {layout.name!r} has {layout.dims}'


def _array_defect(array: Any, shape: tuple[int, ...]) -> str:
    """Return the defect of an array that must have the given shape; empty if it has none."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in 'fiu':
        return 'is not an array of numbers'
    if array.shape != shape:
        return f'has shape {array.shape}; it must be {shape}'

    low = float(array.min())
    high = float(array.max())
    if -LARGEST <= low <= high <= LARGEST:  # false if there is a NaN
        return ''
    broken = np.count_nonzero(~np.isfinite(array))
    if broken:
        return f'holds {broken} values that are not finite'
    value = high if high > LARGEST else low
    return f'holds {value:.6g}; coordinates must not exceed {LARGEST:.0f}'


def label_defects(annotation: Mapping, low: int = 0) -> Iterator[str]:
    """Yield the defects of the label of an annotation, if it has one.

    Args:
        annotation: the annotation.
        low: smallest label.
    """
    label = annotation.get('label')
    if label is not None and not is_whole(label, low):
        limit = ' of at least 0' if low == 0 else ''
        yield f'label is {repr(label)[:40]}; it must be an integer{limit}'


def _defect(annotation: Any, layout: Layout | None) -> str:
    """Return the first defect of an annotation; empty if it has none."""
    num_joints = None if layout is None else layout.num_joints
    if text := structure_defect(annotation, num_joints):
        return text

    name = name_of(annotation)
    if not isinstance(name, str) or len(name) > MAX_NAME:
        return (
            f'a sequence has the name {str(name)[:40]!r}; it must be text of at most {MAX_NAME} '
            'characters'
        )
    defects = (*array_defects(annotation, layout), *label_defects(annotation, low=-(2**63)))
    return f'{name!r}: {defects[0]}' if defects else ''


def warnings(annotation: Mapping) -> list[str]:
    """Return warnings about a valid annotation, as clauses whose subject is "N sequences"."""
    keypoint = annotation['keypoint']
    one_frame = keypoint.shape[1] == 1
    present = keypoint.any(axis=(1, 2, 3))  # (M,)

    found = ['have one frame'] if one_frame else []
    if not present.any():
        return [*found, 'hold only zeros']
    if not present[0]:
        found.append('have an absent first person (zeros) but a present one after it')
    if np.count_nonzero(~keypoint.any(axis=(0, 1, 3))) > 1:  # one may be the origin
        found.append('have joints that are always zero')
    # comparing two frames first is fast for the usual sequence
    still = (keypoint[:, 0] == keypoint[:, -1]).all() and (keypoint == keypoint[:, :1]).all()
    if still and not one_frame:
        found.append('do not move')
    return found


def filter_valid(
    annotations: Sequence, path: str, layout: Layout | None, drop: bool
) -> tuple[list[dict], list[str]]:
    """Select the annotations that can be used and correct their ``total_frames``.

    Args:
        annotations: annotations of a file.
        path: the file, for messages.
        layout: joint layout that the sequences must have; any if not given.
        drop: whether to leave out those that cannot be used, instead of raising an error.

    Returns:
        The annotations, and warnings with counts and examples.

    Raises:
        ValueError: if one cannot be used and ``drop`` is false, or if none can.
    """
    kept: list[dict] = []
    refused: list[str] = []  # defects
    found: dict[str, list[str]] = {}  # warning -> names
    names: set[str] = set()
    for annotation in annotations:
        name = name_of(annotation)
        defect = _defect(annotation, layout)
        if not defect and name in names:
            defect = f'{name!r} is the name of several sequences'
        if defect:
            refused.append(defect)
            continue

        names.add(name)
        for text in [*warnings(annotation), *_frame_warnings(annotation)]:
            found.setdefault(text, []).append(name)
        kept.append(_normalized(annotation))

    total = len(annotations)
    counted = [f'{len(ns)} of {total} sequences {t}: {abbreviate(ns)}' for t, ns in found.items()]
    if not refused:
        return kept, counted

    share = f'{len(refused)} of {total} sequences'
    examples = '; '.join(refused[:EXAMPLES])
    if drop and kept:
        return kept, [f'{share} are left out: {examples}', *counted]
    remedy = ". Correct the file, or set invalid='drop' of the dataset to leave them out"
    raise ValueError(f'{path!r}: {share} cannot be used: {examples}{remedy if kept else ""}')


def _frame_warnings(annotation: Mapping) -> list[str]:
    """Return a warning if ``total_frames`` is not the number of frames."""
    frames = annotation['keypoint'].shape[1]
    stated = annotation.get('total_frames', frames)
    if is_whole(stated) and stated == frames:
        return []
    return ['had a total_frames that is not the number of their frames; it was corrected']


def _normalized(annotation: Mapping) -> dict:
    """Return an annotation with the right ``total_frames`` and without a label that is None."""
    result = {**annotation, 'total_frames': annotation['keypoint'].shape[1]}
    if 'label' in result and result['label'] is None:
        del result['label']
    return result


def split_warnings(
    splits: Mapping[str, Sequence[str]], chosen: Sequence[str], annotations: Sequence
) -> list[str]:
    """Return warnings about the splits in use.

    Args:
        splits: all splits of the file.
        chosen: names of the splits in use, one or two.
        annotations: the sequences that exist.
    """
    names = {name_of(annotation) for annotation in annotations}
    found = []
    for split in dict.fromkeys(chosen):
        counts = Counter(splits[split])
        missing = [name for name in counts if name not in names]
        repeated = [name for name, count in counts.items() if count > 1]
        if missing:
            found.append(
                f'split {split!r} names {len(missing)} sequences that do not exist: '
                f'{abbreviate(missing)}'
            )
        if repeated:
            found.append(
                f'split {split!r} names {len(repeated)} sequences more than once; they count once: '
                f'{abbreviate(repeated)}'
            )
    if len(set(chosen)) == 2:
        found += _overlap(splits, *chosen)
    return found


def _overlap(splits: Mapping[str, Sequence[str]], first: str, second: str) -> list[str]:
    """Return a warning if two splits share sequences."""
    both = sorted(set(splits[first]) & set(splits[second]))
    if not both:
        return []
    return [
        f'{len(both)} sequences are in both {first!r} and {second!r}, so an evaluation includes '
        f'sequences seen in training: {abbreviate(both)}'
    ]


def overlaps(splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Return warnings about sequences of ``[<name>_]train`` in the same ``val`` or ``test``."""
    found = []
    for name in splits:
        if not name.endswith('train'):
            continue
        for suffix in ('val', 'test'):
            other = name.removesuffix('train') + suffix
            if other in splits:
                found += _overlap(splits, name, other)
    return found
