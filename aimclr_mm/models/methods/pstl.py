"""PSTL (Zhou et al., AAAI 2023): Barlow Twins of a whole clip and of parts of it."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.encoder import pool
from aimclr_mm.models.losses import barlow_twins
from aimclr_mm.skeletons import LayoutLike, get_layout
from aimclr_mm.transforms.functional import calm_frames, take_frames

from .base import SkeletonMethod


@MODELS.register_module()
class PSTL(SkeletonMethod):
    """Correlate the embedding of a clip with those of a part of its frames and of its joints.

    The whole clip is the view ``key``, the one that loses frames ``query`` (motion-attention
    temporal masking), the one that loses joints ``masked`` (central spatial masking). Which ones
    are lost is drawn for the whole batch. There is neither a key encoder nor a memory bank. On
    several ranks the correlation is that of each rank's batch.

    Args:
        backbone: config of a backbone with ``forward_joints``,
            :class:`~aimclr_mm.models.AimCLRSTGCN` or :class:`~aimclr_mm.models.FastSTGCN`.
        frame_ratio: share of the frames, first of those that move most, then of random ones.
        joint_ratio: share of the joints; the more neighbors a joint has, the more often it is lost.
        off_diagonal: lambda, the weight of the correlations of different dimensions.
        layout: joint layout of the data.
        *args, **kwargs: see :class:`SkeletonMethod`.

    Raises:
        ValueError: if an argument is out of range or the backbone cannot leave out joints.
    """

    VIEWS = ('query', 'key', 'masked')

    def __init__(
        self,
        *args: Any,
        frame_ratio: float = 0.2,
        joint_ratio: float = 0.32,
        off_diagonal: float = 2e-4,
        layout: LayoutLike = 'ntu25',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= frame_ratio < 0.5:
            raise ValueError(f'frame_ratio={frame_ratio}; it is used twice: 0 <= frame_ratio < 0.5')
        if not 0 <= joint_ratio < 1:
            raise ValueError(f'joint_ratio={joint_ratio}; the share must lie in [0, 1)')
        if not hasattr(self.encoder.backbone, 'forward_joints'):
            raise ValueError(
                f'{type(self.encoder.backbone).__name__} cannot leave out joints, which PSTL '
                'needs; use FastSTGCN or AimCLRSTGCN as the backbone'
            )

        self.draws_on_host = True  # so that a training step cannot be captured as a CUDA graph
        self.frame_ratio = frame_ratio
        self.joint_ratio = joint_ratio
        self.off_diagonal = off_diagonal
        degrees = torch.tensor(get_layout(layout).degrees, dtype=torch.float32)
        self.register_buffer('degrees', degrees, persistent=False)  # (V,)

    def loss(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the Barlow Twins losses of the masked frames and of the masked joints."""
        backbone = self.encoder.backbone
        whole = self.embed(backbone(views['key']))
        frames = self.embed(backbone(self.mask_frames(views['query'])))
        joints = self.embed(backbone.forward_joints(views['masked'], self.draw_joints()))
        return dict(
            loss_frames=barlow_twins(whole, frames, self.off_diagonal),
            loss_joints=barlow_twins(whole, joints, self.off_diagonal),
        )

    def embed(self, feature_map: Tensor) -> Tensor:
        """Return the embeddings (N, D) of a feature map (N, M, C', T', V), not normalized."""
        return self.encoder.head(pool(feature_map))

    def mask_frames(self, x: Tensor) -> Tensor:
        """Remove the frames that move most, then random ones, of clips x (N, M, T, V, C)."""
        lost = int(x.shape[2] * self.frame_ratio)
        calm = calm_frames(x, x.shape[2] - lost)  # (N, T - lost)
        drawn = torch.randperm(calm.shape[1], device=x.device)[lost:]
        return take_frames(x, calm[:, drawn.sort().values])

    def draw_joints(self) -> Tensor:
        """Draw the joints that stay, sorted: (J,)."""
        joints = len(self.degrees)
        stays = torch.ones(joints, dtype=torch.bool, device=self.degrees.device)
        lost = round(joints * self.joint_ratio)
        if lost:
            stays[torch.multinomial(self.degrees, lost)] = False
        return stays.nonzero()[:, 0]

    def chance_loss(self) -> float:
        """Return the loss of embeddings without correlation: 1 for each dimension and pair."""
        return 2.0 * self.encoder.head.out_channels
