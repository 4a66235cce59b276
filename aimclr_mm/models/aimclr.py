"""AimCLR (Guo et al., AAAI 2022): SkeletonCLR with extreme views, EADM, D3M and nearest neighbours mining."""
from __future__ import annotations

from mmaction.registry import MODELS
from torch import Tensor

from .losses import d3m, info_nce, mining_loss, nearest_neighbors
from .skeletonclr import SkeletonCLR


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

    def __init__(self, *args, eadm: dict | None = None, topk: int = 1, mining_reduction: str = 'sum',
                 alpha: float = 1.0, beta: float = 1.0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if mining_reduction not in ('sum', 'mean'):
            raise ValueError(f"mining_reduction={mining_reduction!r}; known are 'sum' and 'mean'")
        if not 0 <= topk <= len(self.queue):
            raise ValueError(f'topk={topk}; it must lie between 0 and the queue length {len(self.queue)}')
        self.eadm = None if eadm is None else MODELS.build(eadm)
        self.topk, self.mining_reduction, self.alpha, self.beta = topk, mining_reduction, alpha, beta
        self.mining = False        # second training stage; set before each epoch by the StageSwitchHook

    def loss(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """L1 = alpha L_info + beta L_D in the first stage, L2 = alpha L_N + beta L_D in the second."""
        z_hat, z = self.encoder(inputs['query']), self.encode_key(inputs['key'])           # (N, D) each
        extremes = self.embed_extreme(inputs['extreme']) if 'extreme' in inputs else []    # z~, z~_drop

        queue = self.queue.snapshot()
        logits = self.logits(z_hat, z, queue)                                              # (N, 1 + K)
        extreme_logits = [self.logits(z_tilde, z, queue) for z_tilde in extremes]
        self.queue.enqueue(z)

        losses, positives = {}, 1.0
        if self.mining and self.topk:
            mask = nearest_neighbors([logits.detach(), *(e.detach() for e in extreme_logits)], self.topk)
            losses['loss_nnm'] = self.alpha * mining_loss(logits, mask, self.mining_reduction)
            positives = mask.sum(dim=1).float().mean() if self.mining_reduction == 'sum' else 1.0
        else:
            losses['loss_info'] = self.alpha * info_nce(logits)
        if extreme_logits:
            losses['loss_d3m'] = self.beta * sum(d3m(logits, e) for e in extreme_logits) / len(extreme_logits)
        weight = self.alpha * positives + (self.beta if extreme_logits else 0.0)
        return dict(losses, **self.health(z_hat, weight * self.chance_loss))

    def embed_extreme(self, view: Tensor) -> list[Tensor]:
        """Embeddings (N, D) of the extreme view, and of its features after EADM; one pass of the backbone."""
        feature_map = self.encoder.backbone(view)                                          # (N, M, C, T, V)
        maps = [feature_map]
        if self.eadm is not None:
            maps.append(self.eadm(feature_map.flatten(0, 1)).view_as(feature_map))
        return [self.encoder.project(m) for m in maps]
