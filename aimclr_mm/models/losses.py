"""The losses of the paper as pure functions.

Letters: N samples, K memory bank length, D embedding size. Logits are (N, 1 + K): column 0 is the
similarity with the sample's own key, the others are those with the memory bank, all divided by the
temperature. Half-precision inputs are promoted to float32, even under autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCTIONS = ('sum', 'mean')

_MIN_NORM = 1e-8  # below it a vector has no direction: the gradient grows with the inverse norm


def _promote(value: Any) -> Any:
    is_half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_half else value


def promote_half(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorate a function of tensors to compute half-precision inputs in float32."""

    @wraps(function)
    def compute(first: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            args = [_promote(value) for value in (first, *args)]
            kwargs = {name: _promote(value) for name, value in kwargs.items()}
            return function(*args, **kwargs)

    return compute


@promote_half
def unit_vectors(x: Tensor) -> Tensor:
    """Normalize rows (N, D) to unit length; a zero row stays zero and gets no gradient."""
    is_zero = x.detach().norm(dim=1, keepdim=True) <= _MIN_NORM  # false for NaN, which must show
    return F.normalize(torch.where(is_zero, 0.0, x), dim=1)


@promote_half
def contrastive_logits(query: Tensor, key: Tensor, bank: Tensor, temperature: float) -> Tensor:
    """Compare queries with their own keys and with the memory bank (the exponents of Eq. 1).

    Args:
        query: (N, D) unit vectors.
        key: (N, D) unit vectors.
        bank: (K, D) unit vectors.
        temperature: tau.

    Returns:
        Logits (N, 1 + K).
    """
    query = query / temperature
    positive = (query * key).sum(dim=1, keepdim=True)  # (N, 1)
    negative = query @ bank.T  # (N, K)
    return torch.cat([positive, negative], dim=1)


@promote_half
def info_nce(logits: Tensor) -> Tensor:
    """Return the InfoNCE loss (Eq. 1), mean over samples; ln(K + 1) when all logits are equal."""
    own_key = logits.new_zeros(len(logits), dtype=torch.long)
    return F.cross_entropy(logits, own_key)


@promote_half
def d3m(teacher: Tensor, *students: Tensor) -> Tensor:
    """Return the distributional divergence (Eq. 7 and 8), mean over students and samples.

    Args:
        teacher: (N, 1 + K) logits of the normally augmented query; they receive no gradient.
        *students: (N, 1 + K) logits of each extremely augmented query.
    """
    target = teacher.detach().softmax(dim=1)
    return sum(F.cross_entropy(student, target) for student in students) / len(students)


def nearest_neighbors(logits: Sequence[Tensor], k: int = 1) -> Tensor:
    """Mine the positive set: the own key and the union of every query's top k in the memory bank.

    Args:
        logits: (N, 1 + K) logits of each query (normal, extreme, dropped).
        k: neighbors per query.

    Returns:
        Boolean mask (N, 1 + K); column 0 is true.
    """
    positives = torch.zeros_like(logits[0], dtype=torch.bool)
    positives[:, 0] = True
    for query in logits:
        nearest = query.detach()[:, 1:].topk(k, dim=1).indices  # (N, k)
        positives.scatter_(1, nearest + 1, True)
    return positives


@promote_half
def mining_loss(logits: Tensor, positives: Tensor, reduction: str = 'sum') -> Tensor:
    """Return InfoNCE with several positives (Eq. 9), mean over samples.

    Args:
        logits: (N, 1 + K) logits of the normally augmented query.
        positives: (N, 1 + K) boolean mask of the positive set.
        reduction: ``sum`` over a sample's positives (Eq. 9) or their ``mean`` (released code).
    """
    log_likelihood = torch.where(positives, logits.log_softmax(dim=1), 0).sum(dim=1)  # (N,)
    if reduction == 'mean':
        log_likelihood = log_likelihood / positives.sum(dim=1)
    return -log_likelihood.mean()


@promote_half
def cross_stream_loss(
    logits: Tensor,
    other: Tensor,
    positives: Tensor,
    temperature: float,
    context: bool = True,
    reduction: str = 'mean',
) -> Tensor:
    """Contrast one stream with the positives that another stream has mined (CrosSCLR, CVPR 2021).

    The context of a key is the product of both streams' similarities with it. It adds K logits, and
    the mined keys are positives there, too.

    Args:
        logits: (N, 1 + K) logits of this stream.
        other: (N, 1 + K) logits of the other stream.
        positives: (N, 1 + K) boolean mask, mined by the other stream.
        temperature: tau, by which both streams' logits were divided.
        context: whether to add the context.
        reduction: see :func:`mining_loss`.
    """
    if context:
        products = logits[:, 1:] * other[:, 1:] * temperature  # (N, K)
        logits = torch.cat([logits, products], dim=1)  # (N, 1 + 2 K)
        positives = torch.cat([positives, positives[:, 1:]], dim=1)
    return mining_loss(logits, positives, reduction)


@promote_half
def distillation(
    student: Tensor,
    teacher: Tensor,
    bank: Tensor,
    k: int,
    temperatures: tuple[float, float] = (0.1, 0.04),
    duplicate: float = 0.95,
) -> Tensor:
    """Return KL(teacher || student) over the k keys nearest to the teacher, mean over samples.

    Args:
        student: (N, D) unit vectors.
        teacher: (N, D) unit vectors; they receive no gradient.
        bank: (K, D) unit vectors.
        k: number of keys.
        temperatures: of the student and of the teacher.
        duplicate: cosine with the teacher above which a key counts as a recording of the sample
            itself, and is as far away as possible.
    """
    cosines = teacher.detach() @ bank.T  # (N, K)
    nearest = torch.where(cosines > duplicate, -1, cosines).topk(k, dim=1)  # (N, k)
    target = (nearest.values / temperatures[1]).softmax(dim=1)
    own = (student @ bank.T).gather(1, nearest.indices)
    predicted = (own / temperatures[0]).log_softmax(dim=1)
    return F.kl_div(predicted, target, reduction='batchmean')


@promote_half
def barlow_twins(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Return the Barlow Twins loss (Zbontar et al., ICML 2021) of two batches of embeddings.

    The cross-correlation of their dimensions over the batch shall be the identity: the sum of
    (1 - c_dd)^2 over the diagonal plus ``weight`` times the sum of the other squares.

    Args:
        first, second: (N, D) embeddings of two views of the same samples, not normalized.
        weight: lambda, the weight of the entries off the diagonal.
    """
    correlation = standardize(first).T @ standardize(second) / len(first)  # (D, D)
    diagonal = correlation.diagonal()
    others = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + weight * others


def standardize(x: Tensor) -> Tensor:
    """Return x (N, D) with mean 0 and variance 1 in each dimension over the batch."""
    return F.batch_norm(x, None, None, training=True)


@promote_half
def mean_cosine(embeddings: Tensor) -> Tensor:
    """Return the mean cosine between different unit embeddings (N, D): 1 means collapse."""
    n = len(embeddings)
    return (embeddings.sum(dim=0).square().sum() - n) / max(n * (n - 1), 1)
