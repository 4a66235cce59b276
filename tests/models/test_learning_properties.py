"""Queue, losses and EADM: what holds for any number of samples, keys and dimensions."""

from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aimclr_mm.models import losses
from aimclr_mm.models.eadm import EADM, drop_and_rescale
from aimclr_mm.models.memory_bank import MemoryBank
from tests.strategies import SEEDS, seeded


@given(
    length=st.integers(1, 40),
    dim=st.integers(1, 5),
    sizes=st.lists(st.integers(0, 40), max_size=12),
    seed=SEEDS,
)
def test_the_queue_is_a_deque(length, dim, sizes, seed):
    torch.manual_seed(seed)
    bank = MemoryBank(length, dim)
    oracle = deque(map(tuple, bank.keys.tolist()), maxlen=length)
    for size in sizes:
        keys = torch.randn(size, dim)
        if size > length:
            with pytest.raises(
                ValueError, match=f'holds {length} keys, but a batch over all ranks has {size}'
            ):
                bank.enqueue(keys)
            continue
        bank.enqueue(keys)
        oracle.extend(map(tuple, keys.tolist()))
        assert list(map(tuple, torch.roll(bank.keys, -int(bank.pointer), 0).tolist())) == list(
            oracle
        )
        assert 0 <= bank.pointer < length


@st.composite
def comparisons(draw) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, float]:
    """Unit queries (three times N, D), keys (N, D), a bank (K, D) and a temperature."""
    n, k, d = draw(st.integers(1, 6)), draw(st.integers(1, 30)), draw(st.integers(1, 16))
    rng = np.random.default_rng(draw(SEEDS))
    vectors = [rng.normal(size=(count, d)) for count in (n, n, n, n, k)]
    *queries, keys, bank = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors)
    return queries, keys, bank, draw(st.sampled_from([0.01, 0.07, 0.1, 1.0]))


def oracle_logits(
    query: np.ndarray, keys: np.ndarray, bank: np.ndarray, temperature: float
) -> np.ndarray:
    """Logits (N, 1 + K) in float64."""
    return (
        np.concatenate([np.einsum('nd,nd->n', query, keys)[:, None], query @ bank.T], axis=1)
        / temperature
    )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Of each row, in float64."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def tensor(array: np.ndarray) -> Tensor:
    """In the precision of training; flags stay flags."""
    return torch.from_numpy(array if array.dtype == bool else array.astype(np.float32))


@given(
    comparison=comparisons(),
    top=st.integers(1, 30),
    reduction=st.sampled_from(['sum', 'mean']),
    order=SEEDS,
)
def test_losses_are_those_of_float64_whatever_the_order_of_the_queue(
    comparison, top, reduction, order
):
    queries, keys, bank, temperature = comparison
    top = min(top, len(bank))
    logits = [oracle_logits(query, keys, bank, temperature) for query in queries]
    positives = np.zeros(logits[0].shape, dtype=bool)
    positives[:, 0] = True
    for found in logits:
        np.put_along_axis(positives, 1 + np.argsort(-found[:, 1:], axis=1)[:, :top], True, axis=1)
    logs = [log_softmax(found) for found in logits]
    mined = np.where(positives, logs[0], 0).sum(axis=1) / (
        positives.sum(axis=1) if reduction == 'mean' else 1
    )
    context = np.concatenate([logits[0], logits[0][:, 1:] * logits[1][:, 1:] * temperature], axis=1)
    both = np.concatenate([positives, positives[:, 1:]], axis=1)
    crossed = np.where(both, log_softmax(context), 0).sum(axis=1) / (
        both.sum(axis=1) if reduction == 'mean' else 1
    )
    expected = [
        -logs[0][:, 0].mean(),
        -(np.exp(logs[0]) * logs[1]).sum(axis=1).mean(),
        -mined.mean(),
        -crossed.mean(),
    ]
    for places in (np.arange(len(bank)), np.random.default_rng(order).permutation(len(bank))):
        ours = [
            losses.contrastive_logits(
                tensor(query), tensor(keys), tensor(bank[places]), temperature
            )
            for query in queries
        ]
        flags = tensor(positives[:, [0, *(1 + places)]])
        found = [
            losses.info_nce(ours[0]),
            losses.d3m(ours[0], ours[1]),
            losses.mining_loss(ours[0], flags, reduction),
            losses.cross_stream_loss(ours[0], ours[1], flags, temperature, True, reduction),
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
        assert losses.nearest_neighbors(ours, top).sum() <= len(keys) * (1 + 3 * top)
    assert torch.equal(
        losses.nearest_neighbors([tensor(x).double() for x in logits], top), tensor(positives)
    )


@given(comparison=comparisons())
def test_bounds_of_losses(comparison):
    queries, keys, bank, temperature = comparison
    logits, other = (
        losses.contrastive_logits(tensor(query), tensor(keys), tensor(bank), temperature)
        for query in queries[:2]
    )
    assert -1e-5 <= losses.info_nce(logits) <= 2 / temperature + np.log(len(bank) + 1) + 1e-3
    assert losses.d3m(logits, other) >= losses.d3m(logits, logits) - 1e-4  # Gibbs' inequality
    z = queries[0]
    cosines = (z @ z.T)[~np.eye(len(z), dtype=bool)]
    assert losses.mean_cosine(tensor(z)).item() == pytest.approx(
        cosines.mean() if len(cosines) else 0, abs=1e-4
    )


@given(
    seed=SEEDS,
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    margin=st.floats(0.5, 1.1),
    temporal=st.sampled_from(['element', 'frame']),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_eadm_keeps_or_drops_and_keeps_the_mean_scale(seed, shape, margin, temporal, scale):
    x = seeded(seed, torch.randn, *shape) * scale
    x[x == 0] = scale
    y = EADM(margin, temporal=temporal)(x)
    factors = (y / x)[y != 0]
    assert y.shape == x.shape and y.isfinite().all()
    assert (
        factors.numel() == 0
        or factors.min() > 0.999
        and factors.max() - factors.min() <= 1e-3 * factors.max()
    )
    keep = seeded(seed, torch.rand, *shape) < 0.5
    scaled = drop_and_rescale(torch.ones(shape), keep)
    assert (
        scaled.mean().item() == pytest.approx(float(keep.any()), rel=1e-5)
        and not scaled[~keep].any()
    )
