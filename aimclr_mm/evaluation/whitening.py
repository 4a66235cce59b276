"""Whitening of embeddings with unlabeled recordings: an adaptation that trains nothing.

An encoder that was trained on other data spends most of the variance of its embeddings on what all
recordings of a new data set share or on what does not tell its actions apart. Whitening gives all
directions in which the gallery varies a similar weight. It needs no labels and takes milliseconds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def whitening(gallery: Tensor, shrinkage: float = 30.0) -> tuple[Tensor, Tensor]:
    """Return the mean and the whitening matrix of unit embeddings.

    The covariance of the gallery, plus ``shrinkage`` times its mean variance in every direction, to
    the power -1/2 (ZCA). Shrinkage keeps directions with little variance from being blown up, and
    makes the matrix nearly a multiple of the identity for a gallery of a few recordings.

    Args:
        gallery: (G, C) embeddings; G is at least 2.
        shrinkage: positive; the mean variance is over the min(G - 1, C) directions that vary.

    Returns:
        Mean (C,) and symmetric matrix (C, C), in float64.
    """
    if len(gallery) < 2:
        raise ValueError(
            f'whitening needs at least 2 recordings in the gallery, not {len(gallery)}'
        )
    rows = F.normalize(gallery.double(), dim=1)
    mean = rows.mean(dim=0)
    _, singular, directions = torch.linalg.svd(rows - mean, full_matrices=False)

    variance = singular.square() / len(rows)
    floor = shrinkage * variance.sum() / min(len(rows) - 1, rows.shape[1])
    if floor == 0:  # all recordings are the same
        return mean, torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)

    # directions in which the gallery does not vary have the floor only
    scale = (variance + floor).rsqrt() - floor.rsqrt()
    matrix = (directions.T * scale) @ directions
    matrix.diagonal().add_(floor.rsqrt())
    return mean, matrix


def whiten(gallery: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Whiten the embeddings of a gallery (G, C) and of queries (Q, C) by the gallery's statistics.

    Returns:
        Both in the dtype of the gallery. Compare them by their cosine.
    """
    mean, matrix = whitening(gallery)
    return tuple(
        ((F.normalize(rows.double(), dim=1) - mean) @ matrix).to(gallery.dtype)
        for rows in (gallery, queries)
    )
