"""Classification from a few labeled examples of each class."""

from __future__ import annotations

from statistics import mean, pstdev

import numpy as np
import torch.nn.functional as F
from mmengine.logging import MMLogger

from aimclr_mm.utils.device import resolve_device

from .results import FeatureSet
from .whitening import whiten

STRENGTH = 100.0  # inverse of the regularization
MAX_ITER = 5000


def fit_logistic(
    rows: np.ndarray, labels: np.ndarray, strength: float = STRENGTH
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit scikit-learn's multinomial logistic regression, which is deterministic.

    Classes have equal weight, regardless of their numbers of examples. The weights of a
    regularized fit are sums of the examples. With fewer examples than channels the fit is therefore
    done in their span, with the same result and twelve times as fast for 56 examples of 3,720
    channels.

    Args:
        rows: (N, C) embeddings of unit length, or whitened ones.
        labels: (N,) of at least two classes.
        strength: inverse regularization strength (scikit-learn's ``C``).

    Returns:
        Weight (K, C), bias (K,) and the labels (K,) of the K classes.
    """
    from sklearn.linear_model import LogisticRegression

    basis = None
    if len(rows) < rows.shape[1]:
        basis, coordinates = np.linalg.qr(rows.astype(np.float64).T)  # (C, N) and (N, N)
        rows = coordinates.T

    model = LogisticRegression(C=strength, class_weight='balanced', max_iter=MAX_ITER)
    model.fit(rows, labels)
    weight, bias = model.coef_, model.intercept_
    if basis is not None:
        weight = weight @ basis.T
    if len(model.classes_) == 2:
        # scikit-learn has one row, of the second class against the first
        weight = np.concatenate([-weight, weight]) / 2
        bias = np.concatenate([-bias, bias]) / 2
    return weight, bias, model.classes_


def draw_examples(labels: np.ndarray, examples: int, generator: np.random.Generator) -> np.ndarray:
    """Draw examples of each class without replacement; all of a class that has fewer.

    Args:
        labels: (N,) class indices.
        examples: number for each class.
        generator: source of the draw.

    Returns:
        Their indices, sorted by class.
    """
    order = generator.permutation(len(labels))
    return np.concatenate([order[labels[order] == c][:examples] for c in np.unique(labels)])


def check_few_shot(examples: int, draws: int, strength: float) -> None:
    """Raise ValueError for a number below 1 or a strength that is not positive."""
    for name, value in dict(examples=examples, draws=draws).items():
        if value < 1:
            raise ValueError(f'few_shot: {name}={value}; it must be at least 1')
    if not 0 < strength < np.inf:
        raise ValueError(f'few_shot: strength={strength}; it must be positive')


def few_shot(
    features: FeatureSet,
    examples: int = 5,
    draws: int = 10,
    strength: float = STRENGTH,
    whitened: bool = False,
    seed: int = 0,
    device: str | None = None,
) -> dict[str, float]:
    """Return the accuracy of classifiers from a few examples of each class, in percent.

    Each draw takes its examples from the gallery and classifies all queries, as
    ``tools/embed.py few_shot`` does. Encoders that are given the same data get the same draws.

    Args:
        features: gallery and queries.
        examples: labeled examples of each class; a class that has fewer gives all of them.
        draws: number of classifiers, each from other examples.
        strength: see :func:`fit_logistic`.
        whitened: whiten the features by those of the whole gallery, without labels, see
            :mod:`~aimclr_mm.evaluation.whitening`.
        seed: seed of the draws.
        device: device of the whitening; None for a GPU where there is one.

    Returns:
        ``top1``, the mean over the draws, and ``top1_std``, their population standard deviation.

    Raises:
        ValueError: if an argument is out of range, or the gallery has fewer than two classes.
    """
    check_few_shot(examples, draws, strength)
    gallery, gallery_labels, queries, labels = features.split(resolve_device(device))
    parts = gallery.double(), queries.double()
    parts = whiten(*parts) if whitened else (F.normalize(part, dim=1) for part in parts)
    rows, queries = (part.cpu().numpy() for part in parts)
    gallery_labels, labels = gallery_labels.cpu().numpy(), labels.cpu().numpy()
    _check_classes(gallery_labels, examples)

    generator = np.random.default_rng(seed)
    accuracies = []
    for _ in range(draws):
        drawn = draw_examples(gallery_labels, examples, generator)
        weight, bias, classes = fit_logistic(rows[drawn], gallery_labels[drawn], strength)
        predicted = classes[(queries @ weight.T + bias).argmax(axis=1)]
        accuracies.append(100.0 * float((predicted == labels).mean()))
    return dict(top1=mean(accuracies), top1_std=pstdev(accuracies))


def _check_classes(labels: np.ndarray, examples: int) -> None:
    """Warn of classes with fewer examples; raise ValueError if there is only one class."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise ValueError(
            f'few_shot: all sequences of the gallery have the label {classes[0]}; a classifier '
            'needs two classes'
        )
    if scarce := int((counts < examples).sum()):
        MMLogger.get_current_instance().warning(
            f'few_shot: {scarce} of {len(classes)} classes have fewer than {examples} sequences '
            f'in the gallery, the rarest {counts.min()}; all of theirs are examples'
        )
