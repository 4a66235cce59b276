"""Base class and shared functions of the readers of original files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimclr_mm.datasets.annotations import check_mapping, map_annotation
from aimclr_mm.skeletons import Layout, get_layout

from .sources import RecordingError, SourceFile


def match_name(stem: str, pattern: re.Pattern, example: str) -> re.Match:
    """Match the name of a recording.

    Raises:
        RecordingError: if the name does not match; the message shows the example.
    """
    match = pattern.match(stem)
    if not match:
        raise RecordingError(f'is not named like {example}')
    return match


def make_annotation(name: str, keypoint: np.ndarray, **fields: Any) -> dict[str, Any]:
    """Return the annotation of a sequence.

    Args:
        name: unique name of the sequence.
        keypoint: (M, T, V, C) float32.
        **fields: further fields, such as ``label``, ``subject`` and ``camera``.
    """
    return dict(frame_dir=name, keypoint=keypoint, total_frames=keypoint.shape[1], **fields)


def cross_subject(subject: int) -> str:
    """Return the split of a subject in protocols where odd subjects train."""
    return 'xsub_train' if subject % 2 else 'xsub_val'


def joint_order(names: Sequence[str], layout: Layout) -> list[int]:
    """Return the places of the joints of a layout in a file with joints of these names, (V,)."""
    return [names.index(joint) for joint in layout.joints]


class Reader:
    """Reader of the original files of one data set.

    :func:`aimclr_mm.datasets.prepare.prepare` calls :meth:`recordings` once, then, in several
    processes, :meth:`read` for each recording and :meth:`splits` for each of its sequences. Readers
    are pickled to these processes.

    Class attributes:
        name: name on the command line and of the folder ``data/<name>``.
        layout: joint layout, a name in the table or a mapping with the fields of a layout.
        pattern: shell pattern of the names of files that may be recordings.
        published: split -> number of sequences as published, for the summary.
        num_classes: number of classes as published; None where the files decide.
        options: names of the keyword arguments of the constructor, except ``files``.
        preprocessed: whether the preprocessing of the paper has been applied to the sequences.
        needs_source: whether the reader reads files.
        classes: class names by label, where the source has them.
        map_to: layout that :meth:`mapped` maps the sequences to; their own if None.
        level: whether what tilted cameras saw is turned upright, see
            :mod:`aimclr_mm.datasets.leveling`.

    Args:
        files: all files of the source.
    """

    name: str
    layout: Any = 'ntu25'
    pattern: str = '*'
    published: dict[str, int] = {}
    num_classes: int | None = None
    options: tuple[str, ...] = ()
    preprocessed = False
    needs_source = True
    classes: list[str] | None = None
    map_to: str | Mapping | Layout | None = None
    level: bool = False

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self.files = list(files)
        self.left_out: dict[str, list[str]] = {}  # reason -> names left out on purpose

    def recordings(self) -> list[Any]:
        """Return the arguments of :meth:`read` in the order of the result, by default the files.

        Raises:
            ValueError: if the source lacks a part of the data set.
        """
        return self.files

    def read(self, recording: Any) -> list[dict]:
        """Read the sequences of one recording.

        Returns:
            Dicts with ``frame_dir`` (name), ``keypoint`` (M, T, V, C) float32, ``total_frames``
            and, where known, ``label`` (0-based), ``subject`` and ``camera``.

        Raises:
            RecordingError: if this recording cannot be used.
        """
        raise NotImplementedError

    def splits(self, annotation: dict) -> Sequence[str]:
        """Return the names of the splits of a sequence, such as ``xsub_train``."""
        return ()

    def mapped_layout(self) -> Layout:
        """Return the joint layout of the annotation file."""
        return get_layout(self.layout if self.map_to is None else self.map_to)

    def mapped(self, annotation: dict) -> dict:
        """Return an annotation of :meth:`read` in the layout of the annotation file."""
        if self.map_to is None:
            return annotation
        return map_annotation(annotation, get_layout(self.layout), self.mapped_layout())

    def check_mapping(self) -> None:
        """Raise ValueError if the sequences cannot be mapped to :attr:`map_to`."""
        if self.map_to is None:
            return
        if self.preprocessed:
            raise ValueError(
                f'{self.name} holds centered sequences, which cannot be mapped: the center is at 0 '
                'like a missing joint; map the original recordings'
            )
        check_mapping(get_layout(self.layout), get_layout(self.map_to))

    def leave_out(self, reason: str, name: str) -> None:
        """Note a file or sequence that is left out on purpose."""
        self.left_out.setdefault(reason, []).append(name)

    def label(self, action: int) -> int:
        """Return the label of the action in a name, 1 to ``num_classes``.

        Raises:
            RecordingError: for other numbers.
        """
        if not 1 <= action <= self.num_classes:
            raise RecordingError(
                f'has action {action} in its name; {self.name} has 1 to {self.num_classes}'
            )
        return action - 1

    def dataset(self) -> dict:
        """Return the whole data set in mmaction2's pose format; for small ones and tests."""
        annotations = [
            annotation for recording in self.recordings() for annotation in self.read(recording)
        ]
        split: dict[str, list[str]] = {}
        for annotation in annotations:
            annotation.pop('cleaned', None)  # counts of own recordings
            for name in self.splits(annotation):
                split.setdefault(name, []).append(annotation['frame_dir'])
        return dict(metainfo=self.metainfo(), annotations=annotations, split=split)

    def metainfo(self) -> dict:
        """Return the metainfo of the annotation file."""
        metainfo = {name: getattr(self, name) for name in self.options}
        layout = self.layout if self.map_to is None else self.mapped_layout().to_config()
        metainfo.update(dataset=self.name, layout=layout, preprocessed=self.preprocessed)
        if self.classes is not None:
            metainfo['classes'] = self.classes
        return metainfo
