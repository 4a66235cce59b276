"""Features and scores as files: what a network computed once, for every evaluation that comes after."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, TypeVar

import numpy as np

from aimclr_mm.utils.files import atomic_write, check_archive

DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)  # what a damaged archive makes zipfile and NumPy raise
AnyArrayFile = TypeVar('AnyArrayFile', bound='ArrayFile')


@dataclass
class ArrayFile:
    """Named arrays with as many rows each, in a .npz file without pickled objects; the first is a matrix.

    Class attributes:
        kinds: NumPy's kinds of type that the others may have.
        texts: names of fields that are a single text in place of an array.
        made_by: what writes such files, for messages.
    """

    kinds: ClassVar[dict[str, str]] = {}
    texts: ClassVar[tuple[str, ...]] = ()
    made_by: ClassVar[str] = 'tools/test.py --dump FOLDER'

    def __post_init__(self) -> None:
        lengths = {
            field.name: len(getattr(self, field.name))
            for field in fields(self)
            if field.name not in self.texts
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f'arrays of different lengths: {lengths}')

    def save(self, path: str) -> None:
        """Writes the file, as a whole or not at all."""
        with atomic_write(path, 'wb') as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def is_file(cls, path: str) -> bool:
        """Whether the file is of this kind, as far as the names of its arrays tell."""
        try:
            with zipfile.ZipFile(path) as archive:
                return {f'{field.name}.npy' for field in fields(cls)} == set(archive.namelist())
        except DAMAGED:
            return False

    @classmethod
    def load(cls: type[AnyArrayFile], path: str) -> AnyArrayFile:
        """Reads a file.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is damaged or holds other arrays; the message names it.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f'{path!r} does not exist; {cls.made_by} writes such files')
        try:
            with zipfile.ZipFile(path) as archive:
                check_archive(archive, os.path.getsize(path))
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
        except DAMAGED as error:
            raise ValueError(
                f'{path!r} cannot be read as a .npz file of arrays ({error})'
            ) from error
        wanted = [field.name for field in fields(cls)]
        if sorted(arrays) != sorted(wanted):
            found = ', '.join([*list(arrays)[:4], '...'][: len(arrays)]) or 'nothing'
            raise ValueError(f'{path!r} holds {found}; wanted are {", ".join(wanted)}')
        matrix, *rows = (arrays[name] for name in wanted)
        if matrix.ndim != 2 or matrix.dtype.kind != 'f' or not np.isfinite(matrix).all():
            raise ValueError(f'{path!r}: {wanted[0]} must be a matrix of finite numbers')
        for name, array in zip(wanted[1:], rows):
            shape, kinds = ((), 'U') if name in cls.texts else (matrix.shape[:1], cls.kinds[name])
            if array.shape != shape or array.dtype.kind not in kinds:
                raise ValueError(
                    f'{path!r}: {name} has shape {array.shape} and type {array.dtype}; {wanted[0]} has '
                    f'{len(matrix)} rows'
                )
            if array.dtype.kind == 'f' and not np.isfinite(array).all():
                raise ValueError(f'{path!r}: {name} must be finite numbers')
        arrays.update({name: str(arrays[name]) for name in cls.texts})
        return cls(**arrays)


@dataclass
class FeatureSet(ArrayFile):
    """Representations of gallery (training split) and queries (test split).

    Args:
        features: (N, C) float32.
        labels: (N,) int64.
        gallery: (N,) bool, true for the gallery.
        names: (N,) of text.
    """

    kinds = dict(labels='iu', gallery='b', names='U')
    features: np.ndarray
    labels: np.ndarray
    gallery: np.ndarray
    names: np.ndarray

    @classmethod
    def concat(
        cls, sets: Sequence[FeatureSet], weights: Sequence[float] | None = None
    ) -> FeatureSet:
        """Streams side by side, so that cosine similarities are the weighted mean of those of the streams.

        Args:
            sets: one a stream, of the same sequences in the same order.
            weights: of the streams; all equal if not given.
        """
        check_same([s.names for s in sets], [s.labels for s in sets])
        if any(not np.array_equal(sets[0].gallery, s.gallery) for s in sets):
            raise ValueError(
                'the files differ in which sequences are the gallery; all must come from the same evaluation'
            )
        weights = [1.0] * len(sets) if weights is None else list(weights)
        if (
            len(weights) != len(sets)
            or not np.isfinite(weights).all()
            or min(weights) < 0
            or not any(weights)
        ):
            raise ValueError(
                f'weights {weights}: {len(sets)} streams need as many weights, finite, none of '
                'them negative and not all zero'
            )
        parts = [
            np.sqrt(w) * s.features / np.linalg.norm(s.features, axis=1, keepdims=True).clip(1e-12)
            for w, s in zip(weights, sets)
        ]
        return cls(
            np.concatenate(parts, axis=1).astype(np.float32),
            sets[0].labels,
            sets[0].gallery,
            sets[0].names,
        )


@dataclass
class ScoreSet(ArrayFile):
    """Class scores (logits) of the test split.

    Args:
        scores: (Q, classes) float32.
        labels: (Q,) int64.
        names: (Q,) of text.
    """

    kinds = dict(labels='iu', names='U')
    scores: np.ndarray
    labels: np.ndarray
    names: np.ndarray

    @classmethod
    def fuse(cls, sets: Sequence[ScoreSet], weights: Sequence[float]) -> ScoreSet:
        """Weighted sum of the streams' logits ("Experimental Settings").

        Args:
            sets: one a stream, of the same sequences in the same order.
            weights: of the streams.
        """
        check_same([s.names for s in sets], [s.labels for s in sets])
        shapes = [s.scores.shape for s in sets]
        if len(set(shapes)) > 1 or len(weights) != len(sets):
            raise ValueError(
                f'scores of shapes {shapes} with {len(weights)} weights cannot be fused'
            )
        return cls(sum(w * s.scores for w, s in zip(weights, sets)), sets[0].labels, sets[0].names)

    def accuracy(self, k: int = 1) -> float:
        """Share, in per cent, of sequences whose label is among the k classes of highest score."""
        top = np.argsort(-self.scores, axis=1, kind='stable')[:, :k]
        return 100.0 * float((top == self.labels[:, None]).any(axis=1).mean())


@dataclass
class EmbeddingSet(ArrayFile):
    """Representations of recordings, of which nothing but a name need be known.

    Args:
        features: (N, C) float32.
        names: (N,) of text.
        labels: (N,) of text; empty where it is not known.
        sources: (N,) of text, the file that a sequence came from.
        encoder: fingerprint of the encoder; those of another one cannot be compared with these.
    """

    kinds = dict(names='U', labels='U', sources='U')
    texts = ('encoder',)
    made_by = 'tools/embed.py'
    features: np.ndarray
    names: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    encoder: str = ''

    def labelled(self, path: str) -> tuple[FeatureSet, list[str]]:
        """Those with a label, as queries with numbers for labels, and the labels in the order of the numbers.

        Args:
            path: of the file, for the message.

        Raises:
            ValueError: if none has a label.
        """
        known = self.labels != ''
        if not known.any():
            raise ValueError(
                f'{path!r}: no sequence has a label; put recordings into folders named by class'
            )
        classes, numbers = np.unique(self.labels[known], return_inverse=True)
        features = FeatureSet(
            self.features[known], numbers, np.zeros(len(numbers), dtype=bool), self.names[known]
        )
        return features, classes.tolist()


def check_same(names: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> None:
    """Raises ValueError unless all files are of the same sequences, in the same order, with the same labels."""
    for position, (others, theirs) in enumerate(zip(names[1:], labels[1:]), start=2):
        if not (np.array_equal(names[0], others) and np.array_equal(labels[0], theirs)):
            raise ValueError(
                f'file {position} is of other sequences than file 1 ({len(others)} and {len(names[0])}); '
                'all must come from the same split of the same data set'
            )
