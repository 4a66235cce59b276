"""Batch norm with sums in two stages against PyTorch's."""

import pytest
import torch
from torch import nn

from aimclr_mm.models.backbones.cpu.batch_norm import batch_norm

CHANNELS = 6


def inputs(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return values of mean 1, channels last."""
    x = torch.randn(shape, dtype=dtype) + 1
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def layer(dtype: torch.dtype = torch.float64, **options) -> nn.BatchNorm2d:
    """Return a batch norm whose weights are not those of the start."""
    torch.manual_seed(0)
    bn = nn.BatchNorm2d(CHANNELS, **options).to(dtype)
    with torch.no_grad():
        bn.weight.uniform_(0.5, 1.5)
        bn.bias.normal_()
    return bn


def with_gradients(y: torch.Tensor, *of: torch.Tensor) -> list[torch.Tensor]:
    """Return y and its gradients for a fixed gradient of y."""
    torch.manual_seed(1)
    return [y, *torch.autograd.grad(y, of, torch.randn_like(y))]


@pytest.mark.parametrize('shape', [(4, CHANNELS, 5, 7), (1, CHANNELS, 5, 7), (1, CHANNELS, 1, 2)])
@pytest.mark.parametrize('momentum', [0.1, None])
def test_outputs_gradients_and_statistics(shape, momentum):
    ours, theirs = layer(momentum=momentum), layer(momentum=momentum)
    for _ in range(3):
        x = inputs(shape, torch.float64)
        found = with_gradients(batch_norm(ours, x), x, ours.weight, ours.bias)
        expected = with_gradients(theirs(x), x, theirs.weight, theirs.bias)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    assert ours.num_batches_tracked.item() == 3


def test_layout_of_the_result_and_its_gradient():
    x, bn = inputs((4, CHANNELS, 5, 7), torch.float32), layer(torch.float32)
    y, grad, *_ = with_gradients(batch_norm(bn, x), x, bn.weight, bn.bias)
    assert y.stride() == grad.stride() == x.stride()


def test_gradients_of_another_layout():
    """A gradient that is not channels last, such as that of a mean."""
    x, ours, theirs = inputs((4, CHANNELS, 5, 7), torch.float64), layer(), layer()
    weights = torch.randn(4, CHANNELS, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((y.mean(dim=(2, 3)) * weights).sum(), x)
        for y in (batch_norm(ours, x), theirs(x))
    )
    torch.testing.assert_close(found, expected)


def test_float32_is_as_accurate_as_channels_first():
    """Outputs, gradients and statistics, at the size of the first block with 16 clips."""
    shape = (32, CHANNELS, 50, 25)
    bn, x = layer(), inputs(shape, torch.float32)
    exact = x.detach().double().requires_grad_()
    expected = with_gradients(bn(exact), exact, bn.weight, bn.bias)

    errors = []
    for apply, given in ((batch_norm, x), (nn.Module.__call__, x.detach().contiguous())):
        single, given = layer(torch.float32), given.detach().requires_grad_()
        y = apply(single, given)
        torch.manual_seed(1)
        grad = torch.randn(shape, dtype=torch.float64).float()
        found = [y, *torch.autograd.grad(y, (given, single.weight, single.bias), grad)]
        found += [single.running_mean, single.running_var]
        reference = [*expected, bn.running_mean, bn.running_var]
        errors.append([((a - b).norm() / b.norm()).item() for a, b in zip(found, reference)])
    for ours, plain in zip(*errors, strict=True):
        assert ours < 3 * plain + 1e-7


@pytest.mark.parametrize('case', ['evaluation', 'bfloat16', 'no statistics', 'one value'])
def test_other_cases_are_pytorchs(case):
    bn = layer(torch.float32, track_running_stats=case != 'no statistics')
    bn.train(case != 'evaluation')
    x = inputs((1, CHANNELS, 1, 1) if case == 'one value' else (4, CHANNELS, 5, 7), torch.float32)
    if case == 'one value':
        with pytest.raises(ValueError, match='more than 1 value per channel'):
            batch_norm(bn, x)
    else:
        x = x.bfloat16() if case == 'bfloat16' else x
        assert torch.equal(batch_norm(bn, x), bn(x))


def test_synchronized_batch_norm_is_left_alone():
    bn = nn.SyncBatchNorm(CHANNELS).eval()
    x = inputs((4, CHANNELS, 5, 7), torch.float32)
    assert torch.equal(batch_norm(bn, x), bn(x))
