"""Features, scores and embeddings of a network, in memory and as .npz files."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass, fields
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from aimclr_mm.utils.files import atomic_write, check_archive, open_regular

# raised by zipfile and NumPy for damaged archives
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
)
MAX_CLASSES = 10_000  # or the number of sequences, if there are more
AnyArrayFile = TypeVar('AnyArrayFile', bound='ArrayFile')


def top_k_accuracy(scores: Tensor, labels: Tensor, k: int) -> float:
    """Return the top-k accuracy in percent.

    Args:
        scores: (N, classes) logits or votes.
        labels: (N,) class indices; one without a column in ``scores`` counts as an error.
        k: number of classes of highest score; limited to the number of classes.
    """
    top = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return 100.0 * (top == labels[:, None]).any(dim=1).double().mean().item()


@dataclass
class ArrayFile:
    """Named arrays with the same number of rows, saved as .npz without pickled objects.

    The first field is a matrix of finite numbers.

    Class attributes:
        kinds: NumPy dtype kinds that each of the other arrays may have, by field name.
        texts: fields that hold one string instead of an array.
        made_by: command that writes such files, for error messages.
    """

    kinds: ClassVar[dict[str, str]] = {}
    texts: ClassVar[tuple[str, ...]] = ()
    made_by: ClassVar[str] = 'tools/test.py --dump FOLDER'

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.array_names()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f'arrays of different lengths: {lengths}')

    @classmethod
    def array_names(cls) -> list[str]:
        """Return the names of the fields that are arrays, the matrix first."""
        return [field.name for field in fields(cls) if field.name not in cls.texts]

    def save(self, path: str | os.PathLike) -> None:
        """Write the file atomically."""
        with atomic_write(path, 'wb') as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def is_file(cls, path: str) -> bool:
        """Return whether a file holds arrays of exactly these names."""
        try:
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                return {f'{field.name}.npy' for field in fields(cls)} == set(archive.namelist())
        except DAMAGED:
            return False

    @classmethod
    def load(cls: type[AnyArrayFile], path: str) -> AnyArrayFile:
        """Read and check a file.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: if the file is damaged or holds other arrays; the message names the file.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f'{path!r} does not exist; {cls.made_by} writes such files')
        arrays = _read_npz(path)

        wanted = [field.name for field in fields(cls)]
        if set(arrays) != set(wanted):
            found = ', '.join([*list(arrays)[:4], '...'][: len(arrays)]) or 'nothing'
            raise ValueError(f'{path!r} holds {found}; wanted are {", ".join(wanted)}')

        cls._check(arrays, path)
        return cls(**{**arrays, **{name: str(arrays[name]) for name in cls.texts}})

    @classmethod
    def _check(cls, arrays: dict[str, np.ndarray], path: str) -> None:
        """Raise ValueError for an array with wrong shape or dtype or with NaN or infinity."""
        first, *others = cls.array_names()
        matrix = arrays[first]
        if matrix.ndim != 2 or matrix.dtype.kind != 'f' or not np.isfinite(matrix).all():
            raise ValueError(f'{path!r}: {first} must be a matrix of finite numbers')

        for name in [*others, *cls.texts]:
            array = arrays[name]
            shape, kinds = ((), 'U') if name in cls.texts else (matrix.shape[:1], cls.kinds[name])
            if array.shape != shape or array.dtype.kind not in kinds:
                raise ValueError(
                    f'{path!r}: {name} has shape {array.shape} and type {array.dtype}; '
                    f'{first} has {len(matrix)} rows'
                )
            if array.dtype.kind == 'f' and not np.isfinite(array).all():
                raise ValueError(f'{path!r}: {name} must be finite numbers')


def _read_npz(path: str) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz file of limited size, without unpickling objects."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, os.path.getsize(path))
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except DAMAGED as error:
        raise ValueError(f'{path!r} cannot be read as a .npz file of arrays ({error})') from error


@dataclass
class FeatureSet(ArrayFile):
    """Representations h of the gallery (training split) and of the queries (test split).

    Args:
        features: (N, C) float32.
        labels: (N,) int64 class indices.
        gallery: (N,) bool, true for the gallery.
        names: (N,) str, names of the sequences.
    """

    kinds = dict(labels='iu', gallery='b', names='U')
    features: np.ndarray
    labels: np.ndarray
    gallery: np.ndarray
    names: np.ndarray

    def split(self, device: str | torch.device = 'cpu') -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return gallery (G, C) and its labels (G,), queries (Q, C) and their labels (Q,).

        Args:
            device: device of the tensors.

        Raises:
            ValueError: if the gallery or the queries are empty, a feature is not finite, or a label
                is so large that scores of all classes up to it would fill the memory.
        """
        if self.gallery.all() or not self.gallery.any():
            raise ValueError(
                'the evaluation needs a gallery and queries: give the evaluation data set a pair '
                "of splits, such as split=['xsub_train', 'xsub_val']"
            )
        broken = int((~np.isfinite(self.features).all(axis=1)).sum())
        if broken:
            raise ValueError(
                f'{broken} of {len(self.features)} features are not finite; the encoder or its '
                'input is broken'
            )

        limit = max(MAX_CLASSES, len(self.labels))
        if self.labels.max() >= limit:
            largest = int(self.labels.argmax())
            raise ValueError(
                f'sequence {str(self.names[largest])!r} has the label {self.labels[largest]}; '
                f'labels are indices of classes, here at most {limit - 1}. Number the classes '
                'from 0'
            )

        features = torch.from_numpy(self.features).to(device)
        labels = torch.from_numpy(self.labels).to(device)
        gallery = torch.from_numpy(self.gallery).to(device)
        return features[gallery], labels[gallery], features[~gallery], labels[~gallery]


@dataclass
class ScoreSet(ArrayFile):
    """Class scores of the test split.

    Args:
        scores: (Q, classes) float32 logits.
        labels: (Q,) int64 class indices.
        names: (Q,) str, names of the sequences.
    """

    kinds = dict(labels='iu', names='U')
    scores: np.ndarray
    labels: np.ndarray
    names: np.ndarray

    def accuracy(self, k: int = 1) -> float:
        """Return the top-k accuracy in percent."""
        scores = np.asarray(self.scores, dtype=np.float64)
        labels = np.asarray(self.labels, dtype=np.int64)
        return top_k_accuracy(torch.from_numpy(scores), torch.from_numpy(labels), k)


@dataclass
class EmbeddingSet(ArrayFile):
    """Representations of recordings; labels are optional.

    Args:
        features: (N, C) float32.
        names: (N,) str, names of the recordings.
        labels: (N,) str; empty where unknown.
        sources: (N,) str, the file that each recording was read from.
        encoder: fingerprint of the encoder; embeddings of different encoders are not comparable.
    """

    kinds = dict(names='U', labels='U', sources='U')
    texts = ('encoder',)
    made_by = 'tools/embed.py'
    features: np.ndarray
    names: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    encoder: str = ''

    def labeled(self, path: str) -> tuple[FeatureSet, list[str]]:
        """Return the labeled rows as queries, and the class names by class index.

        Args:
            path: file of the embeddings, for the error message.

        Raises:
            ValueError: if no row has a label.
        """
        known = self.labels != ''
        if not known.any():
            raise ValueError(
                f'{path!r}: no sequence has a label; put recordings into folders named by class'
            )
        classes, indices = np.unique(self.labels[known], return_inverse=True)
        gallery = np.zeros(len(indices), dtype=bool)
        features = FeatureSet(self.features[known], indices, gallery, self.names[known])
        return features, classes.tolist()
