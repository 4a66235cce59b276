"""A baseline without training: the preprocessed coordinates as representation."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn

from aimclr_mm.models.data_preprocessor import build_preprocessor
from aimclr_mm.models.encoder import attach_features


@MODELS.register_module()
class RawCoordinates(BaseModel):
    """Flatten the preprocessed skeletons.

    Args:
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews`.
    """

    def __init__(self, data_preprocessor: dict) -> None:
        super().__init__(build_preprocessor(data_preprocessor))
        self.dummy = nn.Parameter(torch.zeros(()))  # DDP requires at least one parameter

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> list | Tensor:
        """Flatten (N, M, T, V, C) to features (N, M * T * V * C)."""
        if mode == 'loss':
            raise ValueError('raw coordinates cannot be trained; use them with tools/test.py only')

        features = inputs.flatten(1).float()
        return features if mode == 'tensor' else attach_features(features, data_samples)
