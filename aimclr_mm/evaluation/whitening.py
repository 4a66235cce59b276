"""Whitening of embeddings with unlabeled recordings: an adaptation that trains nothing.

An encoder that was trained on other data spends part of its embeddings on what does not tell the
actions of a new data set apart: bodies, cameras, faults of the sensor. Recordings that are mutual
nearest neighbors mostly show the same action, so their differences are of that kind, and whitening
by these differences makes them count less. This is relevant component analysis (Bar-Hillel et al.,
ICML 2003) with mined neighbors in the place of labels. It takes seconds for a thousand recordings.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .similarity import mutual_neighbors

NEIGHBORS = 5  # two recordings are a pair if each is among so many nearest ones of the other
FLOOR = 0.005  # share of the variance that is added in every direction
FEW = 2.0  # more of it, divided by the number of recordings: few of them tell little
CONSTANT = 0.5  # last coordinate of whitened embeddings, whose length is about 1 without it
TINY = 1e-8  # of the length of unit embeddings, and of a share of variance: rounding errors
CHUNK = 4096  # pairs compared at once, which bounds the memory


def whitening(gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the whitening matrix of unit embeddings.

    The matrix is proportional to the power -1/2 of the covariance of the differences between mutual
    nearest neighbors, plus a floor in every direction: :data:`FLOOR` + :data:`FEW` / G of their
    total variance. It is scaled so that the mean squared length of the whitened gallery is 1.

    Args:
        gallery: (G, C) embeddings; G is at least 2.

    Returns:
        Mean (C,) and symmetric matrix (C, C), in float64.
    """
    if len(gallery) < 2:
        raise ValueError(
            f'whitening needs at least 2 recordings in the gallery, not {len(gallery)}'
        )
    rows = F.normalize(gallery.double(), dim=1)
    mean = rows.mean(dim=0)
    rows = rows - mean
    matrix = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)

    pairs = mutual_neighbors(rows, NEIGHBORS)
    variance, directions = principal_directions(rows, pairs)
    floor = (FLOOR + FEW / len(rows)) * variance.sum()
    if floor > TINY**2:  # else all pairs are the same recording twice
        scale = (1 + variance / floor).rsqrt() - 1  # directions without variance keep their length
        matrix += (directions * scale) @ directions.T

    length = (rows @ matrix).square().sum(dim=1).mean().sqrt()
    return mean, matrix / length if length > TINY else matrix


def principal_directions(rows: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variances (D,) and directions (C, D) in which pairs of rows differ.

    Args:
        rows: (N, C).
        pairs: (P, 2) indices.
    """
    if len(pairs) < rows.shape[1]:  # the smaller one of two matrices with the same eigenvalues
        differences = rows[pairs[:, 0]] - rows[pairs[:, 1]]
        variance, places = torch.linalg.eigh(differences @ differences.T / max(len(pairs), 1))
        varies = variance > TINY * variance.sum()
        directions = differences.T @ places[:, varies]
        return variance[varies], F.normalize(directions, dim=0)

    covariance = rows.new_zeros(rows.shape[1], rows.shape[1])
    for first, second in (part.unbind(dim=1) for part in pairs.split(CHUNK)):
        difference = rows[first] - rows[second]
        covariance += difference.T @ difference / len(pairs)
    variance, directions = torch.linalg.eigh(covariance)
    return variance.clamp(min=0), directions


def whiten(gallery: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Whiten the embeddings of a gallery (G, C) and of queries (Q, C) by the gallery's statistics.

    A constant coordinate follows the whitened ones. With it, the cosine of two embeddings depends
    on their distance, too, and not on angles alone, which mean little close to the center and
    change if all queries are shifted, as by another camera.

    Returns:
        (G, C + 1) and (Q, C + 1) in the dtype of the gallery. Compare them by their cosine.
    """
    mean, matrix = whitening(gallery)
    parts = ((F.normalize(rows.double(), dim=1) - mean) @ matrix for rows in (gallery, queries))
    return tuple(F.pad(part, (0, 1), value=CONSTANT).to(gallery.dtype) for part in parts)
