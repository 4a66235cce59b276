"""Few-shot classification and nearest-neighbor search with embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track

from aimclr_mm.checkpoints.loading import find_head
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.evaluation.few_shot import STRENGTH, fit_logistic
from aimclr_mm.evaluation.results import ArrayFile
from aimclr_mm.evaluation.similarity import nearest_in_gallery
from aimclr_mm.evaluation.whitening import whiten, whitening

LONG = 200  # examples from which on leave-one-out shows a progress bar

Labels = Sequence[int] | Sequence[str] | np.ndarray


def as_embeddings(embeddings: np.ndarray, name: str, channels: int | None = None) -> np.ndarray:
    """Return embeddings (N, C) as float64, checked.

    Args:
        embeddings: (N, C), or (C,) for a single one.
        name: name of the argument, for messages.
        channels: required C; any if not given.

    Raises:
        ValueError: for another shape, NaN or infinity, or a row of zeros.
    """
    array = np.atleast_2d(np.asarray(embeddings, dtype=np.float64))
    if array.ndim != 2 or 0 in array.shape or channels not in (None, array.shape[1]):
        wanted = 'C' if channels is None else channels
        raise ValueError(
            f'{name} has shape {np.shape(embeddings)}; it must be (N, {wanted}), as returned by '
            'embed()'
        )
    invalid = np.flatnonzero(~np.isfinite(array).all(axis=1) | ~array.any(axis=1))
    if len(invalid):
        raise ValueError(
            f'{name}: row {invalid[0]} is zero or not finite; it has no direction to compare'
        )
    return array


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings (N, C) scaled to unit length."""
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def _softmax(scores: np.ndarray) -> np.ndarray:
    return torch.from_numpy(scores).softmax(dim=1).numpy()


@dataclass
class EmbeddingClassifier(ArrayFile):
    """Linear classifier of unit embeddings, see :func:`fit_classifier`; saved as ``.npz``.

    Args:
        weight: (K, C) for K classes.
        bias: (K,).
        classes: (K,) labels.
        encoder: fingerprint of the encoder of the embeddings; empty if unknown.
    """

    kinds = dict(bias='f', classes='iuU')
    texts = ('encoder',)
    made_by = 'tools/embed.py few_shot --save FILE'
    weight: np.ndarray
    bias: np.ndarray
    classes: np.ndarray
    encoder: str = ''

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the class probabilities (N, K) of embeddings (N, C)."""
        rows = unit_rows(as_embeddings(embeddings, 'embeddings', self.weight.shape[1]))
        return _softmax(rows @ self.weight.T + self.bias)

    def predict(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the labels (N,) of embeddings (N, C)."""
        return self.classes[self.probabilities(embeddings).argmax(axis=1)]


@dataclass
class ClassificationHead:
    """Linear classifier of features, trained together with the encoder, see :func:`load_head`.

    Args:
        weight: (K, C) for K classes.
        bias: (K,).
        classes: (K,) their names; their indices as text where the names are not known.
    """

    weight: np.ndarray
    bias: np.ndarray
    classes: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the class probabilities (N, K) of features (N, C), the mean over frames."""
        rows = as_embeddings(features, 'features', self.weight.shape[1])
        return _softmax(rows @ self.weight.T + self.bias)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the class names (N,) of features (N, C)."""
        return self.classes[self.probabilities(features).argmax(axis=1)]


def load_head(
    checkpoint: str, stream: str | None = None, classes: Sequence[str] | None = None
) -> ClassificationHead:
    """Load the classification head of a finetuned or linear classifier.

    Args:
        checkpoint: checkpoint of a training with labels.
        stream: stream of a checkpoint of several.
        classes: names of the classes; those that the checkpoint states if not given.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it holds no classifier, or ``classes`` has another number of names.
    """
    content = load_checkpoint_file(checkpoint)
    weight, bias = (part.double().numpy() for part in find_head(content, checkpoint, stream))
    if classes is not None and len(classes) != len(bias):
        raise ValueError(
            f'checkpoint {checkpoint!r} has {len(bias)} classes, but {len(classes)} names are given'
        )
    if classes is None:
        meta = content.get('meta') or {}
        classes = (meta.get('dataset_meta') or {}).get('classes') or ()
    if len(classes) != len(bias):
        classes = range(len(bias))
    return ClassificationHead(weight, bias, np.array([str(name) for name in classes]))


def fit_classifier(
    embeddings: np.ndarray,
    labels: Labels,
    strength: float = STRENGTH,
    unlabeled: np.ndarray | None = None,
) -> EmbeddingClassifier:
    """Fit a classifier to labeled embeddings; one example per class is enough.

    The classifier is a logistic regression on unit embeddings, see
    :func:`~aimclr_mm.evaluation.few_shot.fit_logistic`.

    Args:
        embeddings: (N, C), as returned by :meth:`~aimclr_mm.apis.EmbeddingInferencer.embed`.
        labels: (N,) integers or strings, of at least two classes.
        strength: inverse regularization strength (scikit-learn's ``C``); smaller for noisy labels.
        unlabeled: (U, C) embeddings of recordings without labels, such as those to classify. If
            given, the regression is on embeddings whitened by these and the labeled ones, see
            :mod:`aimclr_mm.evaluation.whitening`.

    Raises:
        ValueError: if shapes do not match, or there are fewer than two classes.
    """
    rows, labels, transform = _examples(embeddings, labels, strength, unlabeled)
    weight, bias, classes = fit_logistic(rows, labels, strength)
    if transform is not None:  # a classifier takes unit embeddings
        mean, matrix = transform
        weight = weight @ matrix
        bias = bias - weight @ mean
    return EmbeddingClassifier(weight, bias, classes)


def _examples(
    embeddings: np.ndarray, labels: Labels, strength: float, unlabeled: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return checked examples, see :func:`fit_classifier`.

    Returns:
        Unit embeddings (N, C), whitened if there are unlabeled ones; labels (N,); mean (C,) and
        matrix (C, C) of the whitening, or None.
    """
    rows = unit_rows(as_embeddings(embeddings, 'embeddings'))
    labels = np.asarray(labels)
    if labels.shape != rows.shape[:1] or labels.dtype.kind not in 'iuU':
        raise ValueError(
            f'labels has shape {labels.shape} and type {labels.dtype}; it must be ({len(rows)},) '
            'whole numbers or text, one for each embedding'
        )
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f'all labels are {classes[0]!r}; a classifier needs examples of two classes at least'
        )
    if not 0 < strength < np.inf:
        raise ValueError(f'strength={strength}; it must be positive')
    if unlabeled is None:
        return rows, labels, None

    together = np.concatenate([rows, as_embeddings(unlabeled, 'unlabeled', rows.shape[1])])
    mean, matrix = (part.numpy() for part in whitening(torch.from_numpy(together)))
    return (rows - mean) @ matrix, labels, (mean, matrix)


def leave_one_out(
    embeddings: np.ndarray,
    labels: Labels,
    strength: float = STRENGTH,
    unlabeled: np.ndarray | None = None,
) -> float:
    """Return the leave-one-out accuracy of :func:`fit_classifier` in percent.

    Args:
        embeddings, labels, strength, unlabeled: see :func:`fit_classifier`; at least two examples
            per class. Whitening takes all of them, as it needs no labels.
    """
    rows, labels, _ = _examples(embeddings, labels, strength, unlabeled)
    _, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f'{len(rows)} embeddings, {counts.min()} of the rarest class; leaving one out needs '
            'two examples of every class'
        )

    correct = 0
    for left_out in track(range(len(rows)), 'Leave-one-out', disable=len(rows) < LONG):
        rest = np.arange(len(rows)) != left_out
        weight, bias, classes = fit_logistic(rows[rest], labels[rest], strength)
        correct += classes[(rows[left_out] @ weight.T + bias).argmax()] == labels[left_out]
    return 100.0 * correct / len(rows)


class Neighbors(NamedTuple):
    """The k nearest neighbors of Q queries, the nearest first."""

    indices: np.ndarray  # (Q, k) rows of the gallery
    similarities: np.ndarray  # (Q, k) cosines


def nearest(
    query: np.ndarray, gallery: np.ndarray, k: int = 5, whitened: bool = False
) -> Neighbors:
    """Find the k nearest neighbors by cosine similarity, exactly.

    Args:
        query: (Q, C) embeddings, or (C,) for one.
        gallery: (G, C) embeddings.
        k: number of neighbors, at most G.
        whitened: whiten the embeddings by those of the gallery, which finds more of the right
            neighbors where the encoder was trained on other data; see
            :mod:`aimclr_mm.evaluation.whitening`.

    Raises:
        ValueError: if shapes do not match or k is out of range.
    """
    gallery = as_embeddings(gallery, 'gallery')
    query = as_embeddings(query, 'query', gallery.shape[1])
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= len(gallery):
        raise ValueError(
            f'k={k}; it must be a whole number of 1 to {len(gallery)}, the rows of the gallery'
        )
    rows = torch.from_numpy(gallery), torch.from_numpy(query)
    if whitened:
        rows = whiten(*rows)
    chunks = nearest_in_gallery(*rows, int(k))
    similarities, indices = (torch.cat(chunk).numpy() for chunk in zip(*chunks))
    return Neighbors(indices, similarities)
