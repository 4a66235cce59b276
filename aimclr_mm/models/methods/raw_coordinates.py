"""Representations that need no training, to put learned ones beside them."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn

from aimclr_mm.models.data_preprocessor import build_preprocessor
from aimclr_mm.models.encoder import attach_features


@MODELS.register_module()
class RawCoordinates(BaseModel):
    """Takes the preprocessed coordinates themselves as the representation.

    Args:
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews`.
    """

    def __init__(self, data_preprocessor: dict) -> None:
        super().__init__(build_preprocessor(data_preprocessor))
        self.nothing = nn.Parameter(
            torch.zeros(())
        )  # torch distributes no network without a parameter

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> list | Tensor:
        """Flattens (N, M, T, V, C) to (N, M * T * V * C)."""
        if mode == 'loss':
            raise ValueError('raw coordinates cannot be trained; use them with tools/test.py only')
        features = inputs.flatten(1).float()
        if mode == 'tensor':
            return features
        return attach_features(features, data_samples)
