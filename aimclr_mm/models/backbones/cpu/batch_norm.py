"""Batch norm with channels last: accurate in training, folded into the weights in evaluation.

PyTorch's CPU kernel for channels last adds up all rows of a channel one by one, in float32. At the
paper's size the encoder's outputs are then ten to a hundred times less accurate than with channels
first. Sums in two stages, over the rows at one offset and then over the offsets, cost little more.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aimclr_mm.utils.device import is_cpu


def fold_batch_norm(bn: nn.BatchNorm2d, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of a linear layer with the batch norm that follows it folded in.

    Args:
        bn: the batch norm, whose running statistics are used.
        weight: (C', ...), output channels first.
        bias: (..., C').
    """
    scale = bn.weight * (bn.running_var + bn.eps).rsqrt()
    shift = bn.bias - bn.running_mean * scale
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), bias * scale + shift


def batch_norm(bn: nn.Module, x: Tensor) -> Tensor:
    """Return ``bn(x)``, with accurate sums where PyTorch's are not.

    That is in training, on a CPU, in float32 or float64. In bfloat16 PyTorch sums in float32, which
    is as accurate as the data; CUDA and :class:`torch.nn.SyncBatchNorm` have their own kernels.

    Args:
        bn: the batch norm.
        x: (B, C, T, V), channels last.
    """
    if (
        type(bn) is not nn.BatchNorm2d
        or not bn.training
        or not bn.track_running_stats
        or not is_cpu(x)
        or x.dtype not in (torch.float32, torch.float64)
        or x.numel() <= x.shape[1]
    ):
        return bn(x)
    y, mean, var = _BatchNorm.apply(x, bn.weight, bn.bias, bn.eps)
    update_running_stats(bn, mean, var, x.numel() // x.shape[1])
    return y


@torch.no_grad()
def update_running_stats(bn: nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int) -> None:
    """Update the running statistics of a batch norm as PyTorch does, with the unbiased variance.

    Args:
        bn: the batch norm.
        mean, var: mean and biased variance (C,) of the batch.
        count: number of values per channel.
    """
    bn.num_batches_tracked += 1
    momentum = 1 / float(bn.num_batches_tracked) if bn.momentum is None else bn.momentum
    bn.running_mean.lerp_(mean, momentum)
    bn.running_var.lerp_(var * (count / (count - 1)), momentum)


def _by_offset(x: Tensor) -> Tensor:
    """Return x (B, C, T, V) as (L, K * C): L groups of K rows, without a copy if channels are last.

    A group is one of the B people; with B = 1 it is one of the T frames.
    """
    rows = x.permute(0, 2, 3, 1)
    return rows.reshape(rows.shape[0] if rows.shape[0] > 1 else rows.shape[1], -1)


def _as_image(x: Tensor) -> Tensor:
    """Return (L, K * C) as (1, K * C, L, 1), channels last."""
    return x.t()[None, :, :, None]


class _BatchNorm(torch.autograd.Function):
    """Batch norm in training; also returns the mean and the biased variance of the batch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels = x.shape[1]
        means, variances = torch.batch_norm_update_stats(_as_image(_by_offset(x)), None, None, 0.0)
        means, variances = means.view(-1, channels), variances.view(-1, channels)  # (K, C)
        mean = means.mean(dim=0)
        var = variances.mean(dim=0) + (means - mean).square_().mean(dim=0)

        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt())
        ctx.mark_non_differentiable(mean, var)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rstd = ctx.saved_tensors
        channels, count = x.shape[1], x.numel() // x.shape[1]
        batch, _, frames, joints = x.shape
        rows, grad = _by_offset(x), _by_offset(grad)  # (L, K * C)
        offsets = rows.shape[1] // channels

        # sums over the groups of grad and of grad * (x - mean): gradients with variance 1
        _, dot, total = torch.ops.aten.native_batch_norm_backward(
            _as_image(grad),
            _as_image(rows),
            None,
            mean.repeat(offsets),
            torch.ones_like(rows[0]),
            None,
            None,
            False,
            0.0,
            [False, True, True],
        )
        dot = dot.view(offsets, channels).sum(dim=0)
        total = total.view(offsets, channels).sum(dim=0)

        # weight * rstd * (grad - total / count - (x - mean) * rstd^2 * dot / count)
        scale = weight * rstd
        slope = -scale * rstd.square() * dot / count
        shift = -scale * total / count - slope * mean
        scale, slope, shift = (c.repeat(offsets) for c in (scale, slope, shift))
        grad_x = torch.addcmul(shift, rows, slope).addcmul_(grad, scale)
        grad_x = grad_x.view(batch, frames, joints, channels).permute(0, 3, 1, 2)
        return grad_x, dot * rstd, total, None
