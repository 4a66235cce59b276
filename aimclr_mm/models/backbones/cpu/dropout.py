"""Dropout with p = 1/2 from single random bits; PyTorch's takes an eighth of a training step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aimclr_mm.utils.device import is_cpu


def random_bits(shape: torch.Size) -> Tensor:
    """Return zeros and ones (uint8) with equal probability, on the CPU."""
    words = torch.empty((shape.numel() + 63) // 64, dtype=torch.long)
    words.random_(-(2**63), None)  # all 64 bits

    # byte j of word i of row k is bit 8 j + k of word i
    ones = (words >> torch.arange(8)[:, None]).bitwise_and_(0x0101010101010101)
    return ones.view(torch.uint8).flatten()[: shape.numel()].view(shape)


def dropout_add_relu(y: Tensor, residual: Tensor | int, p: float) -> Tensor:
    """Return ``relu(dropout(y, p) + residual)``, the end of a block; y may be overwritten.

    Args:
        y: (B, C, T, V), channels last.
        residual: the same, or 0.
        p: probability of zeroing an element of y.
    """
    if not is_cpu(y) or p != 0.5:
        if p > 0:
            y = F.dropout(y, p)  # in place, it would take four kernels on CUDA instead of one
        return torch.relu_(y.add_(residual))

    batch, channels, frames, joints = y.shape
    bits = random_bits(torch.Size((batch, frames, joints, channels))).permute(0, 3, 1, 2)
    residual = residual.to(y.dtype) if isinstance(residual, Tensor) else y.new_zeros(())
    return torch.addcmul(residual, y, bits.to(y.dtype), value=2).relu_()
