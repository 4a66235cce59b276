"""SkeletonCLR (Li et al., CVPR 2021): MoCo v2 for skeletons ("SkeletonCLR Overview")."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.encoder import momentum_update, relative_distance, released_init
from aimclr_mm.models.losses import contrastive_logits, info_nce
from aimclr_mm.models.memory_bank import MemoryBank
from aimclr_mm.utils.arguments import check_choice

from .base import SkeletonMethod


@MODELS.register_module()
class SkeletonCLR(SkeletonMethod):
    """Contrast a query view with a key view of the same sequence against a memory bank.

    Args:
        backbone: config of the backbone f, (N, M, T, V, C) -> (N, M, C', T', V).
        head: config of the projection head g.
        queue_length: K, the length of the memory bank.
        temperature: tau.
        momentum: m of Eq. 2, the weight of the key encoder's old value; the
            :class:`~aimclr_mm.engine.MomentumUpdateHook` updates it before every iteration.
        mixing: config of :class:`~aimclr_mm.models.SkeleMix`, an addition to the losses, or None.
        init: ``default`` keeps the layers' own initialization and copies it to the key encoder;
            ``released`` draws both encoders from N(0, 0.02), as the released code does.
        readout, data_preprocessor: see :class:`SkeletonMethod`.

    Raises:
        ValueError: if an argument is out of range.
    """

    VIEWS = ('query', 'key')

    def __init__(
        self,
        backbone: dict,
        head: dict,
        queue_length: int = 32768,
        temperature: float = 0.07,
        momentum: float = 0.999,
        mixing: dict | None = None,
        init: str = 'default',
        readout: str = 'mean',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backbone, head, readout, data_preprocessor, init_cfg)
        check_choice('init', init, ('default', 'released'))
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum={momentum}; the weight of the old value must lie in [0, 1]')
        if not 0 < temperature < math.inf:
            raise ValueError(f'temperature={temperature}; it must be positive and finite')

        self.temperature = temperature
        self.momentum = momentum
        self.init = init
        self.mixing = None if mixing is None else MODELS.build(mixing)
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.memory_bank = MemoryBank(queue_length, self.encoder.head.out_channels)

    def loss(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return InfoNCE (Eq. 1) of the views ``query`` and ``key``, (N, M, T, V, C) each."""
        query = self.encoder(views['query'])  # z^ (N, D)
        key = self.encode_key(views['key'])  # z (N, D), no gradient

        (logits,) = self.compare([query], key)  # (N, 1 + K)
        losses = dict(loss_info=info_nce(logits), **self.additions(views, key))
        self.memory_bank.enqueue(key)
        return losses

    def additions(self, views: dict[str, Tensor], key: Tensor) -> dict[str, Tensor]:
        """Return the losses that can be added to any method: with ``mixing``, that of mixed clips.

        Args:
            views: the views of the batch.
            key: (N, D) embeddings of the key view.
        """
        if self.mixing is None:
            return {}
        bank = self.memory_bank.snapshot()  # (K, D)
        loss = self.mixing(self.encoder, views['query'], key, bank, self.temperature)
        return dict(loss_mix=loss)

    def embed_queries(self, views: dict[str, Tensor]) -> list[Tensor]:
        """Return the embeddings (N, D) of each query; the first is z^ of the view ``query``."""
        return [self.encoder(views['query'])]

    @torch.no_grad()
    def encode_key(self, view: Tensor) -> Tensor:
        """Return the key embeddings z (N, D), without gradient."""
        return self.key_encoder(view)

    def compare(self, queries: Sequence[Tensor], key: Tensor) -> list[Tensor]:
        """Compare the embeddings of query views with their own keys and with the memory bank.

        Args:
            queries: (N, D) embeddings of each query view.
            key: (N, D) embeddings of the key view.

        Returns:
            Logits (N, 1 + K) of each query view.
        """
        bank = self.memory_bank.snapshot()  # (K, D)
        return [contrastive_logits(query, key, bank, self.temperature) for query in queries]

    def init_weights(self) -> None:
        """Initialize both encoders; by default the key encoder starts as a copy."""
        super().init_weights()
        if self.init == 'released':
            self.encoder.apply(released_init)
            self.key_encoder.apply(released_init)
        else:
            self.key_encoder.load_state_dict(self.encoder.state_dict())

    def update_key_encoder(self) -> None:
        """Move the key encoder towards the query encoder (Eq. 2)."""
        momentum_update(self.key_encoder, self.encoder, self.momentum)

    def key_distance(self) -> float:
        """Return the relative distance between the weights of key and query encoder."""
        return relative_distance(self.key_encoder, self.encoder)

    def chance_loss(self) -> float:
        """Return the total loss when all similarities are equal: nothing has been learned."""
        return math.log(len(self.memory_bank) + 1) + self.chance_of_additions()

    def chance_of_additions(self) -> float:
        """Return the loss of the additions when all similarities are equal."""
        if self.mixing is None:
            return 0.0
        return self.mixing.weight * self.mixing.repeats * math.log(len(self.memory_bank) + 2)
