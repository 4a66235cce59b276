"""Actionlets (ActCLR, CVPR 2023): where a clip differs from the mean clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import pool
from .losses import unit_vectors


def find_actionlet(
    feature_map: Tensor, head: nn.Module, anchor: Tensor, parts: Iterable[Sequence[int]]
) -> Tensor:
    """Return the mask (N, M, T, V) of the actionlet of each clip, without gradient.

    The class-activation map of the distance from the anchor: channels are weighted by the gradient
    of the distance. A body part belongs to the actionlet of a frame if its mean activation is
    positive.

    Args:
        feature_map: (N, M, C, T, V).
        head: projection head.
        anchor: (1, D) unit embedding of the mean clip of the batch.
        parts: joints of each body part.
    """
    feature_map = feature_map.detach()
    with torch.enable_grad():
        h = pool(feature_map).requires_grad_()  # (N, C)
        distance = 1 - (unit_vectors(head(h)) * anchor).sum(dim=1)
        (weight,) = torch.autograd.grad(distance.sum(), h)  # (N, C)

    activation = torch.einsum('nc,nmctv->nmtv', weight.float(), feature_map.float()).relu()
    mask = torch.zeros_like(activation, dtype=torch.bool)
    for part in map(list, parts):
        mask[..., part] = activation[..., part].mean(dim=-1, keepdim=True) > 0
    return mask


def splice(inside: Tensor, outside: Tensor, mask: Tensor) -> Tensor:
    """Return one view inside of the actionlets and another one outside of them.

    Args:
        inside, outside: (N, M, T, V, C) views of the same clips.
        mask: (N, M, T', V) boolean; interpolated linearly to T frames.
    """
    weight = F.interpolate(
        mask.to(inside.dtype), inside.shape[2:4], mode='bilinear', align_corners=True
    )
    return torch.lerp(outside, inside, weight[..., None])


def actionlet_share(mask: Tensor, region: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the share (N,) of each clip's actionlet that lies in a region, mean over people.

    Joints and frames of the actionlet count exp(1 / temperature) times as much as the others.

    Args:
        mask: (N, M, T, V) boolean actionlets.
        region: (T, V) weights in [0, 1].
        temperature: see above.
    """
    weight = (mask.float() / temperature).exp()
    share = (weight * region).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))  # (N, M)
    return share.mean(dim=1)
