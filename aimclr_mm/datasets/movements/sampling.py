"""Random numbers of the movement generator, on torch's current default device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def uniform(low: float, high: float, *shape: int) -> Tensor:
    """Draw numbers between low and high."""
    return torch.rand(*shape) * (high - low) + low


def chance(p: float, *shape: int) -> Tensor:
    """Draw booleans that are true with probability p."""
    return torch.rand(*shape) < p


def choose(weights: Sequence[float], n: int) -> Tensor:
    """Draw n indices with the given probabilities."""
    return torch.multinomial(torch.tensor(weights), n, replacement=True)


def direction(*shape: int) -> Tensor:
    """Draw unit vectors (..., 3), uniform on the sphere."""
    return F.normalize(torch.randn(*shape, 3), dim=-1)


def wander(n: int, frames: int, channels: int, size: float) -> Tensor:
    """Draw slow movements (N, T, channels): sines with a standard normal amplitude times size."""
    amplitude = size * torch.randn(n, 1, channels)
    cycles = uniform(0.3, 2, n, 1, channels)
    time = torch.linspace(0, 1, frames).view(1, frames, 1)
    return amplitude * torch.sin(2 * math.pi * (cycles * time + torch.rand(n, 1, channels)))


def smooth_noise(n: int, frames: int, knots: int, *shape: int) -> Tensor:
    """Draw noise (N, T, ...) that is linear between knots of standard deviation 1."""
    # a matrix product, since F.interpolate uses one GPU thread per frame
    weights = F.interpolate(torch.eye(knots)[None], frames, mode='linear')[0]  # (knots, T)
    noise = torch.randn(n, math.prod(shape), knots) @ weights
    return noise.movedim(2, 1).unflatten(2, shape)
