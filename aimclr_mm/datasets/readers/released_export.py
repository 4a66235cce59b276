"""Write an annotation file as the prepared folders of the released code of AimCLR and CrosSCLR.

The inverse of :mod:`aimclr_mm.datasets.readers.released`: sequences of that reader are written bit
by bit as they were. Any other data set with the joints of NTU goes through the preprocessing of the
paper, so that both implementations can run on the same input.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
from mmaction.registry import TRANSFORMS
from rich.progress import track

import aimclr_mm.transforms  # noqa: F401  registers the transforms
from aimclr_mm.datasets.annotations import check_annotation, load_annotations, write_pickle
from aimclr_mm.datasets.checks import is_whole, name_of
from aimclr_mm.utils.files import atomic_folder

from .released import BENCHMARK, DIMS, ENDING, JOINTS, LABELS, PEOPLE, POSITIONS

LAYOUT = 'ntu25'
PREPROCESSING = (
    dict(type='CenterSkeleton', layout=LAYOUT),
    dict(type='ResizeClip', length=50, layout=LAYOUT),
    dict(type='AlignShoulders', layout=LAYOUT),
)
_SPLIT = re.compile(rf'({BENCHMARK.pattern})_(train|val)')

Splits = dict[str, list[dict]]  # split -> annotations


def export(
    annotation_file: str, folder: str, pipeline: Sequence[Mapping] | None = None
) -> dict[str, int]:
    """Write ``<benchmark>/{train,val}_{position.npy,label.pkl}`` for each benchmark of a file.

    Positions are (N, 3, T, 25, 2) float32: two people, zeros where there is one, the first two
    where there are more. Splits whose names do not end in ``_train`` or ``_val`` are not written.
    The folder appears when it is complete.

    Args:
        annotation_file: in mmaction2's pose format, with the joints of NTU.
        folder: folder to write; it must not exist or be empty.
        pipeline: configs of transforms that bring all sequences to the same length, without
            ``FormatGCNInput``. By default the preprocessing of the paper, or nothing if the file
            says that it has been applied.

    Returns:
        Split -> number of sequences.

    Raises:
        ValueError: if the folder is not empty, or the file lacks splits, labels or another part of
            the format.
    """
    folder = os.path.abspath(folder)
    if os.path.exists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise ValueError(
            f'{folder!r} exists and is not an empty folder; name another one, or delete it first'
        )
    data = load_annotations(annotation_file)
    metainfo = data['metainfo']
    if metainfo.get('layout', LAYOUT) != LAYOUT:
        raise ValueError(
            f'{annotation_file!r} has layout {metainfo["layout"]!r}; the prepared folders hold '
            f'{LAYOUT!r}'
        )

    if pipeline is None:
        pipeline = () if metainfo.get('preprocessed') else PREPROCESSING
    format_input = dict(type='mmaction.FormatGCNInput', num_person=PEOPLE)
    steps = [TRANSFORMS.build(step) for step in (*pipeline, format_input)]

    splits = _select_splits(data, annotation_file)
    with atomic_folder(folder) as target:
        _write_labels(splits, target)
        _write_positions(splits, steps, target)
    return {split: len(members) for split, members in splits.items()}


def _select_splits(data: Mapping, path: str) -> Splits:
    """Return the checked sequences of each split of a benchmark."""
    by_name = _index_by_name(data['annotations'], path)
    splits = {split: names for split, names in data['split'].items() if _SPLIT.fullmatch(split)}
    if not splits:
        raise ValueError(
            f'{path!r} has no splits of a benchmark (xsub_train, xsub_val, ...); it has '
            f'{sorted(data["split"])}'
        )

    result = {}
    for split, names in splits.items():
        unknown = [name for name in names if name not in by_name]
        if unknown or not names:
            raise ValueError(
                f'{path!r}: split {split!r} has {len(names)} names, of which {len(unknown)} have '
                f'no sequence {unknown[:1]}'
            )
        members = [by_name[name] for name in names]
        unlabeled = sum(not is_whole(member.get('label')) for member in members)
        if unlabeled:
            raise ValueError(
                f'{path!r}: {unlabeled} of {len(names)} sequences of split {split!r} have no label'
            )
        result[split] = _sort_by_row(members, split)
    return result


def _index_by_name(annotations: list, path: str) -> dict[str, dict]:
    """Return the checked sequences by name."""
    by_name = {}
    for annotation in annotations:
        check_annotation(annotation, path, JOINTS)
        dims = annotation['keypoint'].shape[3]
        if dims != DIMS:
            raise ValueError(
                f'{path!r}: {name_of(annotation)!r} has {dims} coordinates; the prepared folders '
                f'hold {DIMS}'
            )
        by_name[name_of(annotation)] = annotation

    if len(by_name) != len(annotations):
        raise ValueError(
            f'{path!r} has {len(annotations)} sequences with {len(by_name)} different names'
        )
    return by_name


def _sort_by_row(annotations: list[dict], split: str) -> list[dict]:
    """Sort the sequences of a split as in their original file, if all know their row."""
    rows = []
    for annotation in annotations:
        known = annotation.get('rows')
        rows.append(known.get(split) if isinstance(known, dict) else None)
    if not all(map(is_whole, rows)):
        return annotations
    return [annotations[place] for place in np.argsort(rows, kind='stable')]


def _write_labels(splits: Splits, folder: str) -> None:
    """Write the names, with the ending of the released files, and the classes."""
    for split, members in splits.items():
        names = [member.get('sample_name', f'{name_of(member)}{ENDING}') for member in members]
        labels = [int(member['label']) for member in members]
        write_pickle((names, labels), f'{_prefix(folder, split)}_{LABELS}')


def _write_positions(splits: Splits, steps: Sequence, folder: str) -> None:
    """Write the positions; each sequence is processed once, even if several splits contain it."""
    annotations: dict[int, dict] = {}
    places: dict[int, list[tuple[str, int]]] = {}
    for split, members in splits.items():
        for row, annotation in enumerate(members):
            annotations[id(annotation)] = annotation
            places.setdefault(id(annotation), []).append((split, row))

    arrays: dict[str, np.ndarray] = {}
    shape: tuple[int, ...] = ()
    for key, annotation in track(annotations.items(), description='Writing sequences'):
        position = _process(annotation, steps)
        if not arrays:
            shape = position.shape
            arrays = _create_arrays(splits, shape, folder)
        _check_position(position, shape, name_of(annotation))
        for split, row in places[key]:
            arrays[split][row] = position
    for array in arrays.values():
        array.flush()


def _create_arrays(splits: Splits, shape: tuple[int, ...], folder: str) -> dict[str, np.ndarray]:
    """Create the positions file of each split."""
    return {
        split: np.lib.format.open_memmap(
            f'{_prefix(folder, split)}_{POSITIONS}', 'w+', np.float32, (len(members), *shape)
        )
        for split, members in splits.items()
    }


def _process(annotation: dict, steps: Sequence) -> np.ndarray:
    """Return the positions (3, T, 25, 2) of a sequence."""
    results = dict(keypoint=annotation['keypoint'], total_frames=annotation['keypoint'].shape[1])
    for step in steps:
        results = step(results)
    return results['keypoint'][0].transpose(3, 1, 2, 0)


def _check_position(position: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError if positions have another shape than the first ones or are not finite."""
    broken = np.count_nonzero(~np.isfinite(position))
    if position.shape != shape or broken:
        raise ValueError(
            f'{name!r} has shape {position.shape} and {broken} values that are not finite; it must '
            f'have {shape} like the others and only finite values'
        )


def _prefix(folder: str, split: str) -> str:
    """Return the path of the files of a split up to the underscore."""
    benchmark, part = _SPLIT.fullmatch(split).groups()
    return os.path.join(folder, benchmark, part)
