"""The classification head for finetuning."""

from __future__ import annotations

from typing import Any

from mmaction.models.heads import GCNHead
from mmaction.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SkeletonHead(GCNHead):
    """mmaction2's linear classifier on pooled features, with scores in float32.

    Under bfloat16 autocast mmaction2's own head fails, because NumPy has no bfloat16.
    """

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Return class scores (N * clips, classes) of feature maps (N * clips, M, C, T, V)."""
        if x.shape[2] != self.in_channels:
            raise ValueError(
                f'the classifier takes {self.in_channels} channels, but the backbone gives '
                f'{x.shape[2]}; set in_channels of cls_head to out_channels of the backbone'
            )
        return super().forward(x, **kwargs).float()
