"""Exact search for the nearest neighbors of embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_in_gallery(
    gallery: Tensor, queries: Tensor, k: int, chunk: int = 4096
) -> Iterator[tuple[Tensor, Tensor]]:
    """Find the k nearest neighbors by cosine similarity, chunk by chunk.

    Args:
        gallery: (G, C) features.
        queries: (Q, C) features.
        k: number of neighbors, at most G.
        chunk: number of queries compared at once, which bounds the memory.

    Yields:
        Similarities and gallery indices, (chunk, k) each, the nearest first.
    """
    gallery = F.normalize(gallery.float(), dim=1)
    queries = F.normalize(queries.float(), dim=1)
    for part in queries.split(chunk):
        similarity, index = (part @ gallery.T).topk(k, dim=1)
        yield similarity, index


def mutual_neighbors(rows: Tensor, k: int) -> Tensor:
    """Return the pairs of rows that are among the k nearest neighbors of each other.

    Args:
        rows: (N, C) features.
        k: number of neighbors.

    Returns:
        (P, 2) indices, each pair once.
    """
    count = min(k + 1, len(rows))  # the nearest neighbor of a row is the row itself
    index = torch.cat([found for _, found in nearest_in_gallery(rows, rows, count)])  # (N, count)
    first = torch.arange(len(rows), device=rows.device).repeat_interleave(count)
    second = index.flatten()
    mutual = torch.isin(first * len(rows) + second, second * len(rows) + first)
    return torch.stack([first, second], dim=1)[mutual & (first < second)]
