"""Energy-based attention-guided drop module (EADM; Eq. 3 and Algorithm 1 of the paper)."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn


def energy_attention(x: Tensor, lam: float = 1e-4, unbiased: bool = False) -> Tensor:
    """Attention map sigmoid(1 / e) of Eq. 3, in (0.622, 1): the more a neuron differs from its channel, the higher.

    Args:
        x: (B, C, T, V) feature map; mean and variance are taken over T and V.
        lam: lambda of Eq. 3. With 0 a constant channel has the lowest attention, as with any other.
        unbiased: divide the variance by T * V - 1, as the released code does, not by T * V, as Eq. 3 does.

    Returns:
        (B, C, T, V) float32, without gradient.
    """
    rows = x.detach().float().movedim(1, -1)  # (B, T, V, C), as they lie in memory
    mean = rows.mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)
    squared = (rows - mean).square_()
    count = x.shape[2] * x.shape[3] - int(unbiased)
    variance = squared.sum(dim=2, keepdim=True).sum(dim=1, keepdim=True) / max(count, 1)
    ratio = squared.div_((4 * (variance + lam)).clamp(min=torch.finfo(torch.float32).tiny))
    return ratio.add_(0.5).sigmoid_().movedim(-1, 1)


def drop_and_rescale(x: Tensor, keep: Tensor) -> Tensor:
    """Sets x to zero where ``keep`` is false and scales the rest by count(keep) / count_ones(keep).

    Where nothing is kept the result is zero, not a division by zero; in float16, whose range a scale can leave, it is
    at most the largest number.

    Args:
        x: feature map.
        keep: boolean mask that broadcasts to x.
    """
    scale = keep.numel() / keep.count_nonzero().clamp(min=1)
    if x.dtype != torch.float16:
        return x * keep.to(x.dtype).mul_(scale)
    largest = torch.finfo(x.dtype).max
    return (x * keep.to(x.dtype).mul_(scale.clamp(max=largest))).clamp(-largest, largest)


@MODELS.register_module()
class EADM(nn.Module):
    """Drops the joints and frames that attract most attention (Algorithm 1). It has no parameters.

    Args:
        keep_margin: what has an attention of at least this much is dropped.
        lam: lambda of Eq. 3, not negative.
        temporal: ``element``: one temporal mask a channel, joint and frame (released code); ``frame``: one mask
            over frames, with the attention averaged over channels and joints. The paper does not say which.
        unbiased: see :func:`energy_attention`.
    """

    def __init__(
        self,
        keep_margin: float = 0.7,
        lam: float = 1e-4,
        temporal: str = 'element',
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        if temporal not in ('element', 'frame'):
            raise ValueError(f"EADM: temporal={temporal!r}; known are 'element' and 'frame'")
        if not lam >= 0:
            raise ValueError(f'EADM: lam={lam}; it must not be negative')
        if keep_margin != keep_margin:
            raise ValueError('EADM: keep_margin is NaN; it must be a number')
        self.keep_margin, self.lam, self.temporal, self.unbiased = (
            keep_margin,
            lam,
            temporal,
            unbiased,
        )

    def masks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What of a map (B, C, T, V) is kept: the spatial mask (B, 1, 1, V) and the temporal one, booleans.

        The temporal mask is (B, C, T, V), or (B, 1, T, 1) with ``temporal='frame'``.
        """
        attention = energy_attention(x, self.lam, self.unbiased)
        spatial = (
            attention.mean(dim=1, keepdim=True).mean(dim=2, keepdim=True) < self.keep_margin
        )  # (B, 1, 1, V)
        if self.temporal == 'frame':
            attention = attention.mean(dim=(1, 3), keepdim=True)  # (B, 1, T, 1)
        return spatial, attention < self.keep_margin

    def forward(self, x: Tensor) -> Tensor:
        """Drops features of a map (B, C, T, V); the masks carry no gradient."""
        spatial, temporal = self.masks(x)
        return drop_and_rescale(drop_and_rescale(x, spatial), temporal)
