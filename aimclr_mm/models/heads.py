"""What mmaction2's recognizers need to work with the rest."""

from __future__ import annotations

from mmaction.models.heads import GCNHead
from mmaction.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SkeletonHead(GCNHead):
    """mmaction2's linear classifier on the mean over frames, joints and people, with scores in float32.

    Under bfloat16 autocast the original one fails, since NumPy does not know that type.
    """

    def forward(self, x: Tensor, **kwargs) -> Tensor:
        """Class scores (N * clips, classes) of feature maps (N * clips, M, C, T, V)."""
        return super().forward(x, **kwargs).float()
