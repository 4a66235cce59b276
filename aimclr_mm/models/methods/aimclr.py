"""AimCLR (Guo et al., AAAI 2022): SkeletonCLR with extreme views, EADM, D3M and nearest neighbours mining."""

from __future__ import annotations

import math

from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.losses import d3m, mining_loss, nearest_neighbors

from .skeletonclr import Contrast, SkeletonCLR, Term


@MODELS.register_module()
class AimCLR(SkeletonCLR):
    """Learns from extreme augmentations by matching distributions over the memory bank (Figure 1 of the paper).

    The ablations of Table 1 are configs: without an ``extreme`` view there is no D3M loss, ``eadm=None`` leaves the
    drop module out, ``topk=0`` the mining.

    Args:
        eadm: config of :class:`~aimclr_mm.models.EADM`, or None.
        topk: k of nearest neighbours mining; 0 for none.
        mining_reduction: ``sum`` over positives (Eq. 9) or ``mean`` (released code).
        alpha: weight of InfoNCE and of its mining form.
        beta: weight of the D3M loss.
        **kwargs: see :class:`SkeletonCLR`.
    """

    def __init__(
        self,
        *args,
        eadm: dict | None = None,
        topk: int = 1,
        mining_reduction: str = 'sum',
        alpha: float = 1.0,
        beta: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if mining_reduction not in ('sum', 'mean'):
            raise ValueError(f"mining_reduction={mining_reduction!r}; known are 'sum' and 'mean'")
        if not 0 <= topk <= len(self.queue):
            raise ValueError(
                f'topk={topk}; it must lie between 0 and the queue length {len(self.queue)}'
            )
        self.eadm = None if eadm is None else MODELS.build(eadm)
        self.topk, self.mining_reduction, self.alpha, self.beta = (
            topk,
            mining_reduction,
            alpha,
            beta,
        )
        self.mining = False  # second training stage; set before each epoch by the StageSwitchHook

    def loss(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """L1 = alpha L_info + beta L_D in the first stage, L2 = alpha L_N + beta L_D in the second."""
        contrast = self.contrast(inputs)
        mining = self.mining and self.topk
        return self.losses(
            contrast, self.mining_term(contrast) if mining else self.info_term(contrast)
        )

    def embed_queries(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """z_hat and, of the extreme view, z~ and z~_drop."""
        return super().embed_queries(inputs) + (
            self.embed_extreme(inputs['extreme']) if 'extreme' in inputs else []
        )

    def mining_term(self, contrast: Contrast) -> Term:
        """Nearest neighbours mining over all queries of the batch (Eq. 9)."""
        positives = nearest_neighbors([logits.detach() for logits in contrast.queries], self.topk)
        count = positives.sum(dim=1).float().mean() if self.mining_reduction == 'sum' else 1.0
        value = mining_loss(contrast.queries[0], positives, self.mining_reduction)
        return Term('loss_nnm', value, count * math.log(len(self.queue) + 1))

    def losses(self, contrast: Contrast, term: Term) -> dict[str, Tensor]:
        """Weighs the contrastive term and adds the D3M loss (Eq. 7 and 8)."""
        teacher, *students = contrast.queries
        chance = self.alpha * term.chance + (
            self.beta * math.log(len(self.queue) + 1) if students else 0.0
        )
        result = super().losses(contrast, Term(term.name, self.alpha * term.value, chance))
        if not students:
            return result
        divergence = sum(d3m(teacher, student) for student in students) / len(students)
        return {'loss_d3m': self.beta * divergence, **result}

    def embed_extreme(self, view: Tensor) -> list[Tensor]:
        """Embeddings (N, D) of the extreme view, and of its features after EADM; one pass of the backbone."""
        feature_map = self.encoder.backbone(view)  # (N, M, C, T, V)
        maps = [feature_map]
        if self.eadm is not None:
            maps.append(self.eadm(feature_map.flatten(0, 1)).view_as(feature_map))
        return [self.encoder.project(m) for m in maps]
