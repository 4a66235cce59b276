"""Energy-based attention-guided drop module (EADM; Eq. 3 and Algorithm 1)."""

from __future__ import annotations

import math

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from aimclr_mm.utils.arguments import check_choice


def energy_attention(x: Tensor, lam: float = 1e-4, unbiased: bool = False) -> Tensor:
    """Return the attention sigmoid(1 / e) of Eq. 3, in (0.622, 1).

    The more a neuron differs from its channel's mean, the higher its attention.

    Args:
        x: (B, C, T, V) feature map; mean and variance are taken over T and V.
        lam: lambda of Eq. 3. With 0 a constant channel has the lowest attention, as with any other.
        unbiased: divide the variance by T * V - 1 (released code) instead of T * V (Eq. 3).

    Returns:
        (B, C, T, V) float32, without gradient.
    """
    x = x.detach().float()
    squared = (x - x.mean(dim=(2, 3), keepdim=True)).square()  # (B, C, T, V)
    count = x.shape[2] * x.shape[3] - int(unbiased)
    variance = squared.sum(dim=(2, 3), keepdim=True) / max(count, 1)  # (B, C, 1, 1)

    smallest = torch.finfo(torch.float32).tiny  # no division by zero where lam = 0
    inverse_energy = squared / (4 * (variance + lam)).clamp(min=smallest) + 0.5
    return inverse_energy.sigmoid()


def drop_and_rescale(x: Tensor, keep: Tensor) -> Tensor:
    """Zero x where ``keep`` is false and scale the rest by count(keep) / count_ones(keep).

    If nothing is kept the result is zero instead of NaN. In float16, whose range the scale can
    exceed, values are clamped to the largest finite one.

    Args:
        x: feature map.
        keep: boolean mask that broadcasts to x.
    """
    scale = keep.numel() / keep.count_nonzero().clamp(min=1)
    if x.dtype != torch.float16:
        return x * (keep.to(x.dtype) * scale)

    largest = torch.finfo(x.dtype).max
    scaled_mask = keep.to(x.dtype) * scale.clamp(max=largest)
    return (x * scaled_mask).clamp(-largest, largest)


@MODELS.register_module()
class EADM(nn.Module):
    """Drop the joints and frames that attract most attention (Algorithm 1); no parameters.

    Args:
        keep_margin: features whose attention reaches this threshold are dropped.
        lam: lambda of Eq. 3, not negative.
        temporal: ``element`` masks each channel, joint and frame (released code); ``frame`` makes
            one mask over frames, from the attention averaged over channels and joints. The paper
            does not state the shape.
        unbiased: see :func:`energy_attention`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        keep_margin: float = 0.7,
        lam: float = 1e-4,
        temporal: str = 'element',
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        check_choice('EADM: temporal', temporal, ('element', 'frame'))
        if not lam >= 0:
            raise ValueError(f'EADM: lam={lam}; it must not be negative')
        if math.isnan(keep_margin):
            raise ValueError('EADM: keep_margin is NaN; it must be a number')

        self.keep_margin = keep_margin
        self.lam = lam
        self.temporal = temporal
        self.unbiased = unbiased

    def masks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boolean masks of what is kept of a feature map (B, C, T, V).

        Returns:
            The spatial mask (B, 1, 1, V) and the temporal mask (B, C, T, V), or (B, 1, T, 1) with
            ``temporal='frame'``.
        """
        attention = energy_attention(x, self.lam, self.unbiased)
        spatial = attention.mean(dim=(1, 2), keepdim=True) < self.keep_margin  # (B, 1, 1, V)
        if self.temporal == 'frame':
            attention = attention.mean(dim=(1, 3), keepdim=True)  # (B, 1, T, 1)
        return spatial, attention < self.keep_margin

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of a map (B, C, T, V); the masks carry no gradient."""
        spatial, temporal = self.masks(x)
        return drop_and_rescale(drop_and_rescale(x, spatial), temporal)
