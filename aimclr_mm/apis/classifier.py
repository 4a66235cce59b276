"""Classifiers from a handful of labelled representations, and nearest neighbours among representations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track
from scipy.special import softmax

from aimclr_mm.evaluation.neighbors import nearest_in_gallery
from aimclr_mm.evaluation.results import ArrayFile

LONG = 200  # examples from which on leaving one out takes longer than some seconds


def as_embeddings(embeddings: np.ndarray, name: str, channels: int | None = None) -> np.ndarray:
    """Embeddings (N, C) as float64, checked.

    Args:
        embeddings: (N, C), or (C,) for a single one.
        name: of the argument, for messages.
        channels: C that they must have; any if not given.

    Raises:
        ValueError: if they have another shape, hold something that is not finite, or a row is zero.
    """
    array = np.atleast_2d(np.asarray(embeddings, dtype=np.float64))
    if array.ndim != 2 or 0 in array.shape or channels not in (None, array.shape[1]):
        wanted = 'C' if channels is None else channels
        raise ValueError(
            f'{name} has shape {np.shape(embeddings)}; it must be (N, {wanted}), as embed() gives them'
        )
    broken = np.flatnonzero(~np.isfinite(array).all(axis=1) | ~array.any(axis=1))
    if len(broken):
        raise ValueError(
            f'{name}: row {broken[0]} is zero or not finite; it has no direction to compare'
        )
    return array


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings (N, C) with a length of 1."""
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@dataclass
class EmbeddingClassifier(ArrayFile):
    """A linear classifier on the directions of embeddings; see :func:`fit_classifier`. Saved as ``.npz``.

    Args:
        weight: (K, C) of K classes.
        bias: (K,).
        classes: (K,) the labels that it was fitted with.
        encoder: fingerprint of the encoder that made the embeddings, empty if not known.
    """

    kinds = dict(bias='f', classes='iuU')
    texts = ('encoder',)
    made_by = 'tools/embed.py few_shot --save FILE'
    weight: np.ndarray
    bias: np.ndarray
    classes: np.ndarray
    encoder: str = ''

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """(N, K) probabilities of the classes for embeddings (N, C)."""
        rows = unit_rows(as_embeddings(embeddings, 'embeddings', self.weight.shape[1]))
        return softmax(rows @ self.weight.T + self.bias, axis=1)

    def predict(self, embeddings: np.ndarray) -> np.ndarray:
        """(N,) labels of embeddings (N, C), of the kind that the classifier was fitted with."""
        return self.classes[self.probabilities(embeddings).argmax(axis=1)]


def fit_classifier(
    embeddings: np.ndarray,
    labels: Sequence[int] | Sequence[str] | np.ndarray,
    strength: float = 100.0,
) -> EmbeddingClassifier:
    """A classifier from labelled embeddings, from one example a class on.

    It is scikit-learn's multinomial logistic regression on embeddings of length 1, which depends on nothing random.
    All classes count the same, however many examples they have.

    Args:
        embeddings: (N, C), as :meth:`~aimclr_mm.apis.EmbeddingInferencer.embed` gives them.
        labels: (N,) whole numbers or text, of two classes at least.
        strength: inverse of the regularisation (scikit-learn's ``C``); smaller where labels are wrong now and then.

    Raises:
        ValueError: if shapes do not go together, or there are fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    rows, labels = unit_rows(as_embeddings(embeddings, 'embeddings')), np.asarray(labels)
    if labels.shape != rows.shape[:1] or labels.dtype.kind not in 'iuU':
        raise ValueError(
            f'labels has shape {labels.shape} and type {labels.dtype}; it must be ({len(rows)},) whole '
            'numbers or text, one for each embedding'
        )
    if len(classes := np.unique(labels)) < 2:
        raise ValueError(
            f'all labels are {classes[0]!r}; a classifier needs examples of two classes at least'
        )
    if not 0 < strength < np.inf:
        raise ValueError(f'strength={strength}; it must be positive')
    model = LogisticRegression(C=strength, class_weight='balanced', max_iter=5000).fit(rows, labels)
    weight, bias = model.coef_, model.intercept_
    if len(classes) == 2:  # scikit-learn keeps one row of two: the second class against the first
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return EmbeddingClassifier(weight, bias, model.classes_)


def leave_one_out(
    embeddings: np.ndarray,
    labels: Sequence[int] | Sequence[str] | np.ndarray,
    strength: float = 100.0,
) -> float:
    """Accuracy, in per cent, on each example of a classifier that was fitted to all others.

    Args:
        embeddings, labels, strength: see :func:`fit_classifier`; every class needs two examples.
    """
    embeddings, labels = as_embeddings(embeddings, 'embeddings'), np.asarray(labels)
    places, counts = np.arange(len(embeddings)), np.unique(labels, return_counts=True)[1]
    if len(labels) != len(embeddings) or counts.min() < 2:
        raise ValueError(
            f'{len(embeddings)} embeddings, {len(labels)} labels, {counts.min()} of the rarest class; '
            'leaving one out needs two examples of every class'
        )
    right = 0
    for left_out in track(places, 'Leaving one out', disable=len(places) < LONG):
        kept = places != left_out
        classifier = fit_classifier(embeddings[kept], labels[kept], strength)
        right += classifier.predict(embeddings[left_out])[0] == labels[left_out]
    return 100.0 * right / len(places)


class Neighbors(NamedTuple):
    """The k nearest of Q queries, the nearest first."""

    indices: np.ndarray  # (Q, k) rows of the gallery
    similarities: np.ndarray  # (Q, k) cosines


def nearest(query: np.ndarray, gallery: np.ndarray, k: int = 5) -> Neighbors:
    """Nearest neighbours by cosine similarity, exact.

    Args:
        query: (Q, C) embeddings, or (C,) for one.
        gallery: (B, C) embeddings.
        k: number of neighbours, at most B.

    Raises:
        ValueError: if shapes do not go together or k is out of range.
    """
    gallery = as_embeddings(gallery, 'gallery')
    query = as_embeddings(query, 'query', gallery.shape[1])
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= len(gallery):
        raise ValueError(
            f'k={k}; it must be a whole number of 1 to {len(gallery)}, the rows of the gallery'
        )
    parts = nearest_in_gallery(torch.from_numpy(gallery), torch.from_numpy(query), int(k))
    similarities, indices = (torch.cat(part).numpy() for part in zip(*parts))
    return Neighbors(indices, similarities)
