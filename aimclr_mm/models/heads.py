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
        return super().forward(x, **kwargs).float()
