"""K-nearest-neighbor classification of frozen features ("KNN Evaluation Protocol")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aimclr_mm.utils.device import resolve_device

from .results import FeatureSet, top_k_accuracy
from .similarity import nearest_in_gallery
from .whitening import whiten

RANKING = 200  # neighbors that order the classes without a vote, for the top-5 accuracy


def knn_votes(
    gallery: Tensor,
    gallery_labels: Tensor,
    queries: Tensor,
    k: int,
    weighted: bool = False,
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int = 4096,
) -> Tensor:
    """Return the votes (Q, num_classes) of the k nearest neighbors.

    A tie goes to the class of the nearest neighbor.

    Args:
        gallery: (G, C) features.
        gallery_labels: (G,) class indices.
        queries: (Q, C) features.
        k: number of neighbors, at most G.
        weighted: weight a vote by exp(similarity / temperature) instead of 1.
        temperature: see ``weighted``.
        num_classes: the largest label + 1 if not given.
        chunk: see :func:`nearest_in_gallery`.
    """
    num_classes = num_classes or int(gallery_labels.max()) + 1
    tie_breaker = 1e-9 * 0.5 ** torch.arange(k, device=gallery.device)

    votes = []
    for similarity, index in nearest_in_gallery(gallery, queries, k, chunk):
        if weighted:
            # relative to the nearest neighbor, so that exp does not overflow
            weight = (similarity / temperature - similarity[:, :1] / temperature).exp()
        else:
            weight = torch.ones_like(similarity)

        weight = weight.double() + tie_breaker  # (chunk, k)
        vote = weight.new_zeros(len(index), num_classes)
        votes.append(vote.scatter_add_(1, gallery_labels[index], weight))
    return torch.cat(votes)


def check_neighbors(k: int | Sequence[int]) -> list[int]:
    """Return the numbers of neighbors as a list.

    Raises:
        ValueError: if there is none, or one is below 1.
    """
    ks = [k] if isinstance(k, int) else list(k)
    if not ks or min(ks) < 1:
        raise ValueError(f'KNN: k={k}; every k must be at least 1')
    return ks


def knn(
    features: FeatureSet,
    k: int | Sequence[int] = (1, 5, 20),
    weighted: bool = False,
    temperature: float = 0.07,
    whitened: bool = False,
    device: str | None = None,
) -> dict[str, float]:
    """Return the accuracy of a k-nearest-neighbor classifier with cosine similarity, in percent.

    The gallery classifies the queries; nothing is trained.

    Args:
        features: gallery and queries.
        k: one or several numbers of neighbors.
        weighted, temperature: see :func:`knn_votes`.
        whitened: whiten the features by those of the gallery, see
            :mod:`~aimclr_mm.evaluation.whitening`.
        device: device of the computation; None for a GPU where there is one.

    Returns:
        ``top1`` and ``top5`` for the first k, and ``top1_k{k}`` for every k that is not larger
        than the gallery.

    Raises:
        ValueError: if a k is below 1, or the first k is larger than the gallery.
    """
    ks = check_neighbors(k)
    gallery, gallery_labels, queries, labels = features.split(resolve_device(device))
    if ks[0] > len(gallery):
        raise ValueError(f'KNN: k={ks[0]}, but the gallery holds only {len(gallery)} sequences')
    if whitened:
        gallery, queries = whiten(gallery, queries)
    num_classes = int(max(gallery_labels.max(), labels.max())) + 1

    def count_votes(k: int, weighted: bool, temperature: float = 0.07) -> Tensor:
        return knn_votes(gallery, gallery_labels, queries, k, weighted, temperature, num_classes)

    votes = {k: count_votes(k, weighted, temperature) for k in ks if k <= len(gallery)}
    # more distant neighbors rank the classes that have no vote
    ranking = votes[ks[0]] + 1e-12 * count_votes(min(RANKING, len(gallery)), weighted=True)

    return dict(
        top1=top_k_accuracy(votes[ks[0]], labels, 1),
        top5=top_k_accuracy(ranking, labels, 5),
        **{f'top1_k{k}': top_k_accuracy(scores, labels, 1) for k, scores in votes.items()},
    )
