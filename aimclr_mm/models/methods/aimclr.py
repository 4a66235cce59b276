"""AimCLR (Guo et al., AAAI 2022): SkeletonCLR with extreme views, EADM, D3M and mining."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.losses import REDUCTIONS, d3m, info_nce, mining_loss, nearest_neighbors
from aimclr_mm.utils.arguments import check_choice

from .skeletonclr import SkeletonCLR


@MODELS.register_module()
class AimCLR(SkeletonCLR):
    """Learn from extreme views by matching distributions over the memory bank (Figure 1).

    The ablations of Table 1 are configs: ``eadm=None`` leaves out the drop module and ``topk=0``
    the mining; without an extreme view the method is :class:`SkeletonCLR`.

    Args:
        eadm: config of :class:`~aimclr_mm.models.EADM`, or None.
        topk: k of nearest neighbors mining; 0 for none.
        mining_reduction: ``sum`` over positives (Eq. 9) or ``mean`` (released code).
        alpha: weight of InfoNCE and of its mining form.
        beta: weight of the D3M loss.
        *args, **kwargs: see :class:`SkeletonCLR`.

    Raises:
        ValueError: if an argument is out of range.
    """

    VIEWS = ('query', 'key', 'extreme')

    def __init__(
        self,
        *args: Any,
        eadm: dict | None = None,
        topk: int = 1,
        mining_reduction: str = 'sum',
        alpha: float = 1.0,
        beta: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_choice('mining_reduction', mining_reduction, REDUCTIONS)
        if not 0 <= topk <= len(self.memory_bank):
            raise ValueError(
                f'topk={topk}; it must lie between 0 and queue_length={len(self.memory_bank)}'
            )

        self.eadm = None if eadm is None else MODELS.build(eadm)
        self.topk = topk
        self.mining_reduction = mining_reduction
        self.alpha = alpha
        self.beta = beta
        self.mining = False  # second stage; the StageSwitchHook sets it before each epoch
        # mean size of the last batch's positive sets
        self.register_buffer('num_positives', torch.ones(()), persistent=False)

    def loss(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch of views, (N, M, T, V, C) each.

        First stage: L1 = alpha L_Info + beta L_D. Second stage: L2 = alpha L_N + beta L_D.
        """
        queries = self.embed_queries(views)  # z^, z~ and z~_drop, (N, D) each
        key = self.encode_key(views['key'])  # z (N, D), no gradient

        logits = self.compare(queries, key)  # (N, 1 + K) each
        additions = self.additions(views, key)
        self.memory_bank.enqueue(key)

        if self.mining and self.topk:
            positives = nearest_neighbors(logits, self.topk)  # (N, 1 + K)
            self.num_positives.copy_(positives.sum(dim=1).float().mean())
            contrast = mining_loss(logits[0], positives, self.mining_reduction)  # Eq. 9
            losses = dict(loss_nnm=self.alpha * contrast)
        else:
            losses = dict(loss_info=self.alpha * info_nce(logits[0]))  # Eq. 1

        losses['loss_d3m'] = self.beta * self.divergence(logits)  # Eq. 7, 8
        return dict(losses, **additions)

    def embed_queries(self, views: dict[str, Tensor]) -> list[Tensor]:
        """Return z^, z~ and, with EADM, z~_drop, (N, D) each."""
        return [self.encoder(views['query']), *self.embed_extreme(views['extreme'])]

    def divergence(self, logits: list[Tensor]) -> Tensor:
        """Return the divergence of the extreme queries from the normal one."""
        return d3m(*logits)

    def embed_extreme(self, view: Tensor) -> list[Tensor]:
        """Return z~ (N, D) of the extreme view and, with EADM, z~_drop (N, D).

        Both come from the same forward pass of the backbone.
        """
        feature_map = self.encoder.backbone(view)  # (N, M, C, T, V)
        embeddings = [self.encoder.project(feature_map)]
        if self.eadm is not None:
            dropped = self.eadm(feature_map.flatten(0, 1)).view_as(feature_map)
            embeddings.append(self.encoder.project(dropped))
        return embeddings

    def chance_loss(self) -> float:
        """Return the total loss of the current stage when all similarities are equal."""
        sums_positives = self.mining and self.mining_reduction == 'sum'
        count = float(self.num_positives) if sums_positives else 1.0
        chance = (self.alpha * count + self.beta) * math.log(len(self.memory_bank) + 1)
        return chance + self.chance_of_additions()
