"""The losses of the paper as pure functions.

Letters: N samples, K queue length, D embedding. Logits are (N, 1 + K): the similarity with the sample's own key in
column 0, those with the queue after it, all divided by the temperature. What comes in half precision is computed in
float32, also under autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SHORTEST = 1e-8  # length of a vector that has a direction: the gradient grows with its inverse


def _widen(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Lets a function of tensors compute in float32 what comes in half precision, also under autocast."""

    @wraps(function)
    def compute(first: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return function(
                _widen(first),
                *map(_widen, args),
                **{name: _widen(value) for name, value in kwargs.items()},
            )

    return compute


@in_float32
def unit_vectors(x: Tensor) -> Tensor:
    """Unit vectors (N, D) of the same directions; a vector without a direction stays zero and gets no gradient."""
    without = (
        x.detach().norm(dim=1, keepdim=True) <= _SHORTEST
    )  # false for NaN, which must not be hidden
    return F.normalize(torch.where(without, 0.0, x), dim=1)


@in_float32
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
    query = query / temperature
    positive = (query * key).sum(dim=1, keepdim=True)  # (N, 1)
    return torch.cat([positive, query @ queue.T], dim=1)


@in_float32
def info_nce(logits: Tensor) -> Tensor:
    """InfoNCE loss (Eq. 1), mean over samples. Its value for equal logits is ln(K + 1)."""
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


@in_float32
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


@in_float32
def mining_loss(logits: Tensor, positives: Tensor, reduction: str = 'sum') -> Tensor:
    """InfoNCE with several positives (Eq. 9), mean over samples.

    Args:
        logits: (N, 1 + K) logits of the normally augmented query.
        positives: (N, 1 + K) boolean mask of the positive set.
        reduction: ``sum`` over a sample's positives (Eq. 9) or their ``mean`` (released code).
    """
    log_likelihood = torch.where(positives, logits.log_softmax(dim=1), 0).sum(dim=1)  # (N,)
    if reduction == 'mean':
        log_likelihood = log_likelihood / positives.sum(dim=1)
    return -log_likelihood.mean()


@in_float32
def cross_stream_loss(
    logits: Tensor,
    other: Tensor,
    positives: Tensor,
    temperature: float,
    context: bool = True,
    reduction: str = 'mean',
) -> Tensor:
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
        logits = torch.cat(
            [logits, logits[:, 1:] * other[:, 1:] * temperature], dim=1
        )  # (N, 1 + 2 K)
        positives = torch.cat([positives, positives[:, 1:]], dim=1)
    return mining_loss(logits, positives, reduction)


@in_float32
def mean_cosine(embeddings: Tensor) -> Tensor:
    """Mean cosine between different samples' unit embeddings (N, D): 1 when all are parallel, a collapse."""
    n = len(embeddings)
    return (embeddings.sum(dim=0).square().sum() - n) / max(n * (n - 1), 1)
