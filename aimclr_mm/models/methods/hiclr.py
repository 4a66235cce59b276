"""HiCLR (Zhang et al., AAAI 2023): consistency along a chain of growing augmentations."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from aimclr_mm.models.losses import d3m
from aimclr_mm.transforms.functional import random_joints

from .aimclr import AimCLR


@MODELS.register_module()
class HiCLR(AimCLR):
    """Match each augmented view with the next weaker one, instead of all with the normal one.

    The chain is normal, strong (view ``extreme``), and strong with masked joints (view ``masked``).
    In each frame of ``masked`` some joints are replaced by one learned number; the joints are the
    same for the whole batch.

    Args:
        mask_ratio: share of the joints that each frame loses, at least one joint.
        mining_reduction: see :class:`AimCLR`; the mean, as in the released code.
        *args, **kwargs: see :class:`AimCLR`.

    Raises:
        ValueError: if an argument is out of range.
    """

    VIEWS = ('query', 'key', 'extreme', 'masked')

    def __init__(
        self, *args: Any, mask_ratio: float = 0.1, mining_reduction: str = 'mean', **kwargs: Any
    ) -> None:
        super().__init__(*args, mining_reduction=mining_reduction, **kwargs)
        if not 0 < mask_ratio < 1:
            raise ValueError(f'mask_ratio={mask_ratio}; the share must lie between 0 and 1')
        if self.eadm is not None:
            raise ValueError('HiCLR has no drop module; set eadm=None')

        self.mask_ratio = mask_ratio
        self.mask_value = nn.Parameter(torch.zeros(()))  # the number in place of masked joints

    def embed_queries(self, views: dict[str, Tensor]) -> list[Tensor]:
        """Return the embeddings (N, D) of the normal, the strong and the masked view."""
        masked = self.mask_joints(views['masked'])
        return [self.encoder(view) for view in (views['query'], views['extreme'], masked)]

    def mask_joints(self, x: Tensor) -> Tensor:
        """Replace joints of each frame of x (N, M, T, V, C) by the learned number."""
        frames, joints = x.shape[2:4]
        count = max(int(joints * self.mask_ratio), 1)
        masked = random_joints(frames, joints, count, x.device)  # (T, V)
        return torch.where(masked[..., None], self.mask_value.to(x.dtype), x)

    def divergence(self, logits: list[Tensor]) -> Tensor:
        """Return the mean divergence of strong from normal and of masked from strong."""
        normal, strong, masked = logits
        return (d3m(normal, strong) + d3m(strong, masked)) / 2
