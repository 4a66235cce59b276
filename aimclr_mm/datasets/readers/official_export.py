"""Writes an annotation file as the prepared folders that the released code of AimCLR and CrosSCLR reads.

The way back of :mod:`aimclr_mm.datasets.readers.official`: what that reader made comes out bit by bit as it was, and
any other data set with NTU's joints goes through the paper's preprocessing, so that both implementations can be run
on the same input.
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
from aimclr_mm.datasets.checks import is_whole
from aimclr_mm.utils.files import atomic_folder

from .official import BENCHMARK, DIMS, ENDING, JOINTS, PEOPLE

LAYOUT = 'ntu25'
PREPROCESSING = (
    dict(type='CenterSkeleton', layout=LAYOUT),
    dict(type='ResizeClip', length=50, layout=LAYOUT),
    dict(type='AlignShoulders', layout=LAYOUT),
)
_SPLIT = re.compile(rf'({BENCHMARK.pattern})_(train|val)')


def _in_file_order(annotations: list[dict], split: str) -> list[dict]:
    """The sequences of a split in the order of the file that they came from, if it is known of all."""
    rows = [
        rows.get(split) if isinstance(rows := annotation.get('rows'), dict) else None
        for annotation in annotations
    ]
    if not all(map(is_whole, rows)):
        return annotations
    return [annotations[place] for place in np.argsort(rows, kind='stable')]


def _by_split(data: Mapping, path: str) -> dict[str, list[dict]]:
    """The checked sequences of each split that belongs to a benchmark."""
    by_name = {}
    for annotation in data['annotations']:
        check_annotation(annotation, path, JOINTS)
        if annotation['keypoint'].shape[3] != DIMS:
            raise ValueError(
                f'{path!r}: {annotation.get("frame_dir")!r} has {annotation["keypoint"].shape[3]} '
                f'coordinates; the prepared folders hold {DIMS}'
            )
        by_name[annotation.get('frame_dir', annotation.get('filename'))] = annotation
    if len(by_name) != len(data['annotations']):
        raise ValueError(
            f'{path!r} has {len(data["annotations"])} sequences with {len(by_name)} names'
        )
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
                f'{path!r}: split {split!r} has {len(names)} names, of which {len(unknown)} have no '
                f'sequence {unknown[:1]}'
            )
        result[split] = _in_file_order([by_name[name] for name in names], split)
        unlabelled = [a for a in result[split] if not is_whole(a.get('label'))]
        if unlabelled:
            raise ValueError(
                f'{path!r}: {len(unlabelled)} of {len(names)} sequences of split {split!r} have no label'
            )
    return result


def _write_labels(splits: Mapping[str, list[dict]], folder: str) -> None:
    """Writes the names, with the ending that they have in the authors' files, and the classes."""
    for split, members in splits.items():
        names = [
            a.get('sample_name', f'{a.get("frame_dir", a.get("filename"))}{ENDING}')
            for a in members
        ]
        write_pickle(
            (names, [int(annotation['label']) for annotation in members]),
            f'{_stem(folder, split)}_label.pkl',
        )


def _write_positions(splits: Mapping[str, list[dict]], steps: Sequence, folder: str) -> None:
    """Writes the positions; each sequence is processed once, whatever splits it belongs to."""
    annotations: dict[int, dict] = {}
    places: dict[int, list[tuple[str, int]]] = {}
    for split, members in splits.items():
        for row, annotation in enumerate(members):
            annotations[id(annotation)] = annotation
            places.setdefault(id(annotation), []).append((split, row))
    arrays: dict[str, np.ndarray] = {}
    for key, annotation in track(annotations.items(), description='Writing sequences'):
        position = _process(annotation, steps)
        if not arrays:
            shape = position.shape
            arrays = {
                split: np.lib.format.open_memmap(
                    f'{_stem(folder, split)}_position.npy', 'w+', np.float32, (len(members), *shape)
                )
                for split, members in splits.items()
            }
        if position.shape != shape or not np.isfinite(position).all():
            raise ValueError(
                f'{annotation.get("frame_dir")!r} has shape {position.shape} and '
                f'{np.count_nonzero(~np.isfinite(position))} values that are not finite; it must have '
                f'{shape} as the others and none'
            )
        for split, row in places[key]:
            arrays[split][row] = position
    for array in arrays.values():
        array.flush()


def _process(annotation: dict, steps: Sequence) -> np.ndarray:
    """The positions (3, T, 25, 2) of a sequence."""
    results = dict(keypoint=annotation['keypoint'], total_frames=annotation['keypoint'].shape[1])
    for step in steps:
        results = step(results)
    return results['keypoint'][0].transpose(3, 1, 2, 0)


def _stem(folder: str, split: str) -> str:
    benchmark, part = _SPLIT.fullmatch(split).groups()
    return os.path.join(folder, benchmark, part)


def export(
    annotation_file: str, folder: str, pipeline: Sequence[Mapping] | None = None
) -> dict[str, int]:
    """Writes ``<benchmark>/{train,val}_{position.npy,label.pkl}`` for every benchmark of an annotation file.

    Positions are (N, 3, T, 25, 2) float32: two people, zeros where there is one, the first two where there are more.
    Splits whose names do not end in ``_train`` or ``_val`` are not written. The folder appears when it is complete.

    Args:
        annotation_file: in mmaction2's pose format, with NTU's joints.
        folder: to write; it must not exist or be empty.
        pipeline: configs of transforms that make every sequence as long as the others, without ``FormatGCNInput``.
            If not given, the paper's preprocessing, or nothing if the file says that it has been applied.

    Returns:
        Split -> number of sequences.

    Raises:
        ValueError: if the folder holds something, or the file lacks splits, labels or what the format demands.
    """
    folder = os.path.abspath(folder)
    if os.path.exists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise ValueError(
            f'{folder!r} exists and is no empty folder; name another one, or delete it first'
        )
    data = load_annotations(annotation_file)
    metainfo = data['metainfo']
    if metainfo.get('layout', LAYOUT) != LAYOUT:
        raise ValueError(
            f'{annotation_file!r} has layout {metainfo["layout"]!r}; the prepared folders '
            f'hold {LAYOUT!r}'
        )
    if pipeline is None:
        pipeline = () if metainfo.get('preprocessed') else PREPROCESSING
    steps = [
        TRANSFORMS.build(step)
        for step in (*pipeline, dict(type='mmaction.FormatGCNInput', num_person=PEOPLE))
    ]
    splits = _by_split(data, annotation_file)
    with atomic_folder(folder) as target:
        _write_labels(splits, target)
        _write_positions(splits, steps, target)
    return {split: len(members) for split, members in splits.items()}
