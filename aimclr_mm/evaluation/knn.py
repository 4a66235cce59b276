"""Nearest-neighbour evaluation ("KNN Evaluation Protocol")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import METRICS
from torch import Tensor

from .features import FeatureMetric, top_k_accuracy


def nearest_in_gallery(
    gallery: Tensor, queries: Tensor, k: int, chunk: int = 4096
) -> Iterator[tuple[Tensor, Tensor]]:
    """The k nearest by cosine similarity, some queries at a time.

    Args:
        gallery: (B, C) features.
        queries: (Q, C) features.
        k: number of neighbours, at most B.
        chunk: queries compared at once, which bounds the memory.

    Yields:
        Similarities and indices in the gallery, (chunk, k) each, the nearest first.
    """
    gallery, queries = F.normalize(gallery.float(), dim=1), F.normalize(queries.float(), dim=1)
    for part in queries.split(chunk):
        similarity, index = (part @ gallery.T).topk(k, dim=1)
        yield similarity, index


def knn_scores(
    gallery: Tensor,
    gallery_labels: Tensor,
    queries: Tensor,
    k: int,
    weighted: bool = False,
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int = 4096,
) -> Tensor:
    """Votes of the k nearest neighbours by cosine similarity.

    Args:
        gallery: (B, C) features with labels.
        gallery_labels: (B,).
        queries: (Q, C) features.
        k: number of neighbours, at most B.
        weighted: a neighbour's vote counts exp(similarity / temperature) instead of 1.
        temperature: see ``weighted``.
        num_classes: defaults to the largest label + 1.
        chunk: queries compared at once, which bounds the memory.

    Returns:
        (Q, num_classes) votes. Equal votes are decided for the class of the nearest neighbour.
    """
    num_classes = num_classes or int(gallery_labels.max()) + 1
    votes = []
    for similarity, index in nearest_in_gallery(gallery, queries, k, chunk):
        weight = (
            (similarity / temperature - similarity[:, :1] / temperature).exp()
            if weighted
            else torch.ones_like(similarity)
        )
        weight = weight.double() + 1e-9 * 0.5 ** torch.arange(
            k, device=weight.device
        )  # nearer decides ties
        vote = weight.new_zeros(len(index), num_classes)
        votes.append(vote.scatter_add_(1, gallery_labels[index], weight))
    return torch.cat(votes)


@METRICS.register_module()
class KNNMetric(FeatureMetric):
    """Accuracy of a k-nearest-neighbour classifier with cosine similarity, in per cent.

    The first of several k gives ``knn/top1`` and ``knn/top5``; every k gives ``knn/top1_k{k}``. No label of the
    queries and no training is used.

    Args:
        k: one or several numbers of neighbours.
        weighted, temperature: see :func:`knn_scores`.
        **kwargs: see :class:`FeatureMetric`.
    """

    default_prefix = 'knn'

    def __init__(
        self,
        k: int | Sequence[int] = (1, 5, 20),
        weighted: bool = False,
        temperature: float = 0.07,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.ks = [k] if isinstance(k, int) else list(k)
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f'KNNMetric: k={k}; every k must be at least 1')
        self.weighted, self.temperature = weighted, temperature

    def score(
        self, gallery: Tensor, gallery_labels: Tensor, queries: Tensor, labels: Tensor
    ) -> dict[str, float]:
        """Top-1 and top-5 of the first k, top-1 of every k; a k larger than the gallery is left out."""
        num_classes = int(max(gallery_labels.max(), labels.max())) + 1
        metrics = {}
        for position, k in enumerate(self.ks):
            if k > len(gallery):
                if position == 0:
                    raise ValueError(
                        f'KNNMetric: k={k}, but the gallery holds only {len(gallery)} sequences'
                    )
                continue
            scores = knn_scores(
                gallery, gallery_labels, queries, k, self.weighted, self.temperature, num_classes
            )
            if position == 0:
                # neighbours beyond the k voters settle the order of the remaining classes
                nearest = knn_scores(
                    gallery,
                    gallery_labels,
                    queries,
                    min(200, len(gallery)),
                    True,
                    num_classes=num_classes,
                )
                metrics['top1'] = top_k_accuracy(scores, labels, 1)
                metrics['top5'] = top_k_accuracy(scores + 1e-12 * nearest, labels, 5)
            metrics[f'top1_k{k}'] = top_k_accuracy(scores, labels, 1)
        return metrics
