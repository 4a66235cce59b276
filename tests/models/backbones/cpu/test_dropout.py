"""Dropout from single random bits, and the end of a block."""

import math

import pytest
import torch

from aimclr_mm.models.backbones.cpu.dropout import dropout_add_relu, random_bits


def channels_last(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype).to(memory_format=torch.channels_last)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('p', [0.5, 0.1, 0.999])
def test_dropout_at_the_end_of_a_block(p, dtype):
    """The frequency of zeros, the scale of the others, and the same elements in the gradient."""
    x = channels_last(16, 32, 25, 17, dtype=dtype).requires_grad_()
    y = dropout_add_relu(x * 1, 0, p)
    y.sum().backward()

    zero, n = y.detach() == 0, x.numel()
    assert abs(zero.sum().item() - n * p) < 5 * math.sqrt(n * p * (1 - p))
    assert torch.equal(x.grad, y.detach())
    assert y.detach()[~zero].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-2)

    for dims in ((1, 2, 3), (0, 2, 3), (0, 1, 2)):  # no sample, channel or joint is preferred
        share = zero.float().mean(dim=dims)
        assert ((share - p).abs() < 6 * math.sqrt(p * (1 - p) * len(share) / n)).all()
    assert not torch.equal(dropout_add_relu(x * 1, 0, p), y)


def test_dropout_of_a_gpu_at_the_end_of_a_block(like_cuda):
    test_dropout_at_the_end_of_a_block(0.5, torch.float32)


def test_random_bits():
    """Each of the 8 bits of a byte of a word, and each element, is one half of the time."""
    n = 8 * 40_003  # not a multiple of 64
    bits = random_bits(torch.Size((40_003, 8)))
    assert bits.dtype == torch.uint8 and bits.max() <= 1
    assert abs(bits.sum().item() - n / 2) < 5 * math.sqrt(n / 4) + 1

    limit = 5 * math.sqrt(0.25 / 40_003) + 1e-4
    assert ((bits.float().mean(dim=0) - 0.5).abs() < limit).all()
    eighths = bits.flatten()[: 8 * 40_000].view(8, -1).float()
    assert ((eighths.mean(dim=1) - 0.5).abs() < limit).all()


def test_dropout_of_nothing_and_of_all():
    """Without random numbers: relu(y + residual), and relu(residual)."""
    y, residual = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    state = torch.get_rng_state()
    assert torch.equal(dropout_add_relu(y.clone(), residual, 0.0), (y + residual).relu())
    assert torch.equal(dropout_add_relu(y.clone(), 0, 0.0), y.relu())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(dropout_add_relu(y.clone(), residual, 1.0), residual.relu())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('p', [0.5, 0.3])
def test_end_of_a_block_and_its_gradients(p, dtype):
    """relu(y * mask + residual) with the mask that the same seed gives to ones."""
    shape = (4, 8, 6, 5)
    y, residual = (
        torch.randn(shape).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
        for _ in range(2)
    )
    torch.manual_seed(3)
    mask = dropout_add_relu(channels_last(*shape, dtype=dtype), 0, p)
    torch.manual_seed(3)
    ours = dropout_add_relu(y * 1, residual, p)
    plain = torch.relu(y * mask + residual)
    assert mask.unique().numel() == 2

    grad = torch.randn_like(plain)
    results = [(z, *torch.autograd.grad(z, (y, residual), grad)) for z in (ours, plain)]
    tolerance = dict(rtol=1e-6, atol=1e-6) if dtype == torch.float32 else dict(rtol=0.01, atol=0.01)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, **tolerance)
