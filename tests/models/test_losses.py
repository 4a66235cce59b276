"""Losses against float64 loops of the paper's equations."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aimclr_mm.models.losses import (
    contrastive_logits,
    d3m,
    info_nce,
    mean_cosine,
    mining_loss,
    nearest_neighbors,
)

N, K, D, TAU = 5, 12, 8, 0.07


def unit(*shape) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


@pytest.fixture
def logits():
    """Logits (N, 1 + K) of a normal, an extreme and a dropped query."""
    key, queue = unit(N, D), unit(K, D)
    return [contrastive_logits(unit(N, D), key, queue, 0.5) for _ in range(3)]


def softmax(row) -> np.ndarray:
    e = np.exp(np.asarray(row, dtype=np.float64) - max(row))
    return e / e.sum()


def info_nce_oracle(logits: torch.Tensor) -> float:
    return sum(-math.log(softmax(row)[0]) for row in logits.tolist()) / len(logits)


def d3m_oracle(teacher: torch.Tensor, student: torch.Tensor) -> float:
    total = 0.0
    for p, q in zip(teacher.tolist(), student.tolist()):
        total -= sum(a * math.log(b) for a, b in zip(softmax(p), softmax(q)))
    return total / len(teacher)


def mining_oracle(logits: torch.Tensor, positives: torch.Tensor, reduction: str) -> float:
    total = 0.0
    for row, mask in zip(logits.tolist(), positives.tolist()):
        terms = [math.log(p) for p, positive in zip(softmax(row), mask) if positive]
        total -= sum(terms) / (len(terms) if reduction == 'mean' else 1)
    return total / len(logits)


def test_contrastive_logits():
    query, key, queue = unit(N, D), unit(N, D), unit(K, D)
    expected = np.empty((N, 1 + K))
    for n in range(N):
        expected[n, 0] = np.dot(query[n].double(), key[n].double()) / TAU
        for k in range(K):
            expected[n, 1 + k] = np.dot(query[n].double(), queue[k].double()) / TAU
    np.testing.assert_allclose(
        contrastive_logits(query, key, queue, TAU), expected, rtol=1e-4, atol=1e-5
    )


def test_info_nce(logits):
    for row in logits:
        assert info_nce(row).item() == pytest.approx(info_nce_oracle(row), rel=1e-5)


def test_info_nce_is_equation_1():
    query, key, queue = unit(N, D), unit(N, D), unit(K, D)
    positive = torch.exp((query * key).sum(1).double() / TAU)
    negatives = torch.exp((query @ queue.T).double() / TAU).sum(1)
    expected = -torch.log(positive / (positive + negatives)).mean().item()
    assert info_nce(contrastive_logits(query, key, queue, TAU)).item() == pytest.approx(
        expected, rel=1e-4
    )


def test_d3m(logits):
    teacher, student, _ = logits
    assert d3m(teacher, student).item() == pytest.approx(d3m_oracle(teacher, student), rel=1e-5)
    assert d3m(student, teacher).item() == pytest.approx(d3m_oracle(student, teacher), rel=1e-5)
    assert abs(d3m(teacher, student).item() - d3m(student, teacher).item()) > 1e-3


def test_d3m_is_smallest_at_the_teacher(logits):
    teacher, student, _ = logits
    entropy = d3m_oracle(teacher, teacher)
    assert d3m(teacher, teacher).item() == pytest.approx(entropy, rel=1e-5)
    assert d3m(teacher, student).item() > entropy + 1e-3
    student = teacher.clone().requires_grad_()
    d3m(teacher, student).backward()
    assert student.grad.abs().max() < 1e-6


def test_d3m_gives_no_gradient_to_the_teacher(logits):
    teacher, student = (x.clone().requires_grad_() for x in logits[:2])
    d3m(teacher, student).backward()
    assert teacher.grad is None
    expected = (student.softmax(1) - teacher.softmax(1)).detach() / N
    torch.testing.assert_close(student.grad, expected)


@pytest.mark.parametrize('k', [1, 3, K])
def test_nearest_neighbors(logits, k):
    expected = np.zeros((N, 1 + K), dtype=bool)
    for n in range(N):
        expected[n, 0] = True
        for query in logits:
            ranked = sorted(range(K), key=lambda i: -query[n, 1 + i].item())
            expected[n, [1 + i for i in ranked[:k]]] = True
    np.testing.assert_array_equal(nearest_neighbors(logits, k), expected)


def test_common_neighbors_count_once():
    row = torch.tensor([[9.0, 1, 5, 3, 0]])
    other = torch.tensor([[9.0, 1, 5, 0, 3]])
    assert nearest_neighbors([row, row, other], 1).tolist() == [[True, False, True, False, False]]
    assert nearest_neighbors([row, row, other], 2).tolist() == [[True, False, True, True, True]]
    loss = mining_loss(row, nearest_neighbors([row, other], 1))
    p = softmax(row[0].tolist())
    assert loss.item() == pytest.approx(-math.log(p[0]) - math.log(p[2]), rel=1e-5)


def test_own_key_is_no_neighbor():
    row = torch.tensor([[99.0, 1, 2]])
    assert nearest_neighbors([row], 1).tolist() == [[True, False, True]]


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
@pytest.mark.parametrize('k', [1, 3])
def test_mining_loss(logits, reduction, k):
    positives = nearest_neighbors(logits, k)
    assert len(set(positives.sum(dim=1).tolist())) > 1  # sets of different sizes
    ours = mining_loss(logits[0], positives, reduction).item()
    assert ours == pytest.approx(mining_oracle(logits[0], positives, reduction), rel=1e-5)


def test_mining_sums_by_default(logits):
    positives = nearest_neighbors(logits, 2)
    assert torch.equal(mining_loss(logits[0], positives), mining_loss(logits[0], positives, 'sum'))


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_mining_without_neighbors_is_info_nce(logits, reduction):
    positives = torch.zeros(N, 1 + K, dtype=torch.bool)
    positives[:, 0] = True
    torch.testing.assert_close(mining_loss(logits[0], positives, reduction), info_nce(logits[0]))


@pytest.mark.parametrize('level', [0.0, 1 / TAU, -1 / TAU])
def test_equal_logits_give_the_chance_level(level):
    """InfoNCE and D3M give ln(K + 1), mining with sum gives it once per positive."""
    logits, chance = torch.full((N, 1 + K), level), math.log(K + 1)
    positives = torch.zeros(N, 1 + K, dtype=torch.bool)
    positives[:, :3] = True
    assert info_nce(logits).item() == pytest.approx(chance, rel=1e-6)
    assert d3m(logits, logits).item() == pytest.approx(chance, rel=1e-6)
    assert mining_loss(logits, positives, 'sum').item() == pytest.approx(3 * chance, rel=1e-6)
    assert mining_loss(logits, positives, 'mean').item() == pytest.approx(chance, rel=1e-6)


@pytest.mark.parametrize('sign', [1.0, -1.0, 0.0])
@pytest.mark.parametrize('temperature', [TAU, 1e-3])
def test_equal_opposite_and_zero_embeddings_stay_finite(sign, temperature):
    query = unit(1, D).expand(N, D).clone().requires_grad_()
    key, queue = sign * query.detach(), -sign * query.detach()[:1].expand(K, D)
    normal = contrastive_logits(query, key, queue, temperature)
    extreme = contrastive_logits(-query, key, queue, temperature)
    positives = nearest_neighbors([normal, extreme], 1)
    losses = [info_nce(normal), info_nce(extreme), d3m(normal, extreme), d3m(extreme, normal)]
    losses += [mining_loss(normal, positives, reduction) for reduction in ('sum', 'mean')]
    sum(losses).backward()
    assert all(torch.isfinite(loss) for loss in losses) and torch.isfinite(query.grad).all()


def test_value_far_from_the_teacher():
    """Where the softmax underflows, the cross entropy is still the difference of the logits."""
    teacher, student = torch.tensor([[1000.0, 0, 0]]), torch.tensor([[0.0, 1000, 0]])
    assert d3m(teacher, student).item() == pytest.approx(1000)
    assert info_nce(student).item() == pytest.approx(1000)


@pytest.mark.parametrize('n', [2, 3, 17])
def test_mean_cosine(n):
    z = unit(n, D)
    cosines = [np.dot(z[i].double(), z[j].double()) for i in range(n) for j in range(n) if i != j]
    assert mean_cosine(z).item() == pytest.approx(np.mean(cosines), abs=1e-5)


def test_mean_cosine_of_special_cases():
    z = unit(1, D)
    assert mean_cosine(z.expand(9, D)).item() == pytest.approx(1, abs=1e-5)
    assert mean_cosine(torch.cat([z, -z])).item() == pytest.approx(-1, abs=1e-5)
    assert mean_cosine(torch.eye(D)).item() == pytest.approx(0, abs=1e-6)
    assert mean_cosine(z).item() == pytest.approx(0, abs=1e-5)  # one sample has no other
