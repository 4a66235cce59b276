"""The losses of the paper as pure functions.

Letters: N samples, K queue length, D embedding. Logits are (N, 1 + K): the similarity with the sample's own key in
column 0, those with the queue after it, all divided by the temperature. Everything is computed in float32.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_logits(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Similarities of queries with their own keys and with the queue (the exponents of Eq. 1).

    Args:
        query: (N, D) unit vectors.
        key: (N, D) unit vectors.
        queue: (K, D) unit vectors.
        temperature: tau.

    Returns:
        (N, 1 + K) logits.
    """
    positive = (query * key).sum(dim=1, keepdim=True)                                      # (N, 1)
    return torch.cat([positive, query @ queue.T], dim=1) / temperature


def info_nce(logits: Tensor) -> Tensor:
    """InfoNCE loss (Eq. 1), mean over samples. Its value for equal logits is ln(K + 1)."""
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def d3m(teacher: Tensor, student: Tensor) -> Tensor:
    """Distributional divergence (Eq. 7 and 8): cross entropy of the student's distribution with the teacher's.

    Args:
        teacher: (N, 1 + K) logits of the normally augmented query; no gradient flows into them.
        student: (N, 1 + K) logits of an extremely augmented query.
    """
    return F.cross_entropy(student, teacher.detach().softmax(dim=1))


def nearest_neighbors(logits: Sequence[Tensor], k: int = 1) -> Tensor:
    """Positive set of nearest neighbours mining: the own key and the union N+ of every query's top k in the queue.

    Args:
        logits: (N, 1 + K) logits of each query (normal, extreme, dropped).
        k: neighbours a query.

    Returns:
        (N, 1 + K) boolean mask; column 0 is true.
    """
    positives = torch.zeros_like(logits[0], dtype=torch.bool)
    positives[:, 0] = True
    for query in logits:
        positives.scatter_(1, query[:, 1:].topk(k, dim=1).indices + 1, True)
    return positives


def mining_loss(logits: Tensor, positives: Tensor, reduction: str = 'sum') -> Tensor:
    """InfoNCE with several positives (Eq. 9), mean over samples.

    Args:
        logits: (N, 1 + K) logits of the normally augmented query.
        positives: (N, 1 + K) boolean mask of the positive set.
        reduction: ``sum`` over a sample's positives (Eq. 9) or their ``mean`` (released code).
    """
    log_likelihood = torch.where(positives, logits.log_softmax(dim=1), 0).sum(dim=1)       # (N,)
    if reduction == 'mean':
        log_likelihood = log_likelihood / positives.sum(dim=1)
    return -log_likelihood.mean()


def cross_stream_loss(logits: Tensor, other: Tensor, positives: Tensor, temperature: float, context: bool = True,
                      reduction: str = 'mean') -> Tensor:
    """Contrast of one stream with the positives that another stream has mined (Li et al., CVPR 2021, CrosSCLR).

    The context of a key is the product of both streams' similarities with it; it joins the logits as K more, and the
    mined keys are positive there too.

    Args:
        logits: (N, 1 + K) logits of this stream.
        other: (N, 1 + K) logits of the other stream.
        positives: (N, 1 + K) boolean mask, mined by the other stream.
        temperature: tau, by which both streams' logits were divided.
        context: whether to add the context.
        reduction: see :func:`mining_loss`.
    """
    if context:
        logits = torch.cat([logits, logits[:, 1:] * other[:, 1:] * temperature], dim=1)    # (N, 1 + 2 K)
        positives = torch.cat([positives, positives[:, 1:]], dim=1)
    return mining_loss(logits, positives, reduction)


def mean_cosine(embeddings: Tensor) -> Tensor:
    """Mean cosine between different samples' unit embeddings (N, D): 1 when all are parallel, a collapse."""
    n = len(embeddings)
    return (embeddings.sum(dim=0).square().sum() - n) / max(n * (n - 1), 1)
