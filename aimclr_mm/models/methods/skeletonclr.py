"""SkeletonCLR (Li et al., CVPR 2021): MoCo v2 for skeletons, the base of AimCLR ("SkeletonCLR Overview")."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from aimclr_mm.models.data_preprocessor import build_preprocessor
from aimclr_mm.models.encoder import (
    Encoder,
    attach_features,
    momentum_update,
    pool,
    relative_distance,
    released_init,
)
from aimclr_mm.models.losses import contrastive_logits, info_nce, mean_cosine
from aimclr_mm.models.memory_bank import MemoryQueue


class Contrast(NamedTuple):
    """A batch against the memory queue."""

    embeddings: Tensor  # z_hat (N, D), unit vectors
    queries: list[
        Tensor
    ]  # logits (N, 1 + K) of the query view and, where the method has them, of extreme views


class Term(NamedTuple):
    """A loss, its name in the log, and its value when all similarities are equal."""

    name: str
    value: Tensor
    chance: float | Tensor


@MODELS.register_module()
class SkeletonCLR(BaseModel):
    """Contrasts a query view with a key view of the same sequence against a queue of earlier keys.

    Args:
        backbone: config of the backbone f, (N, M, T, V, C) -> (N, M, C', T', V).
        head: config of the projection head g.
        queue_length: K.
        temperature: tau.
        momentum: m of Eq. 2, weight of the key encoder's old value; a
            :class:`~aimclr_mm.engine.MomentumUpdateHook` asks for the update before every iteration.
        init: ``default``: the layers' own initialisation, key := query; ``released``: N(0, 0.02), drawn for query
            and key separately, as the released code does.
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews`.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        queue_length: int = 32768,
        temperature: float = 0.07,
        momentum: float = 0.999,
        init: str = 'default',
        data_preprocessor: dict | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(build_preprocessor(data_preprocessor), init_cfg)
        if init not in ('default', 'released'):
            raise ValueError(f"init={init!r}; known are 'default' and 'released'")
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum={momentum}; the weight of the old value must lie in [0, 1]')
        if temperature <= 0:
            raise ValueError(f'temperature={temperature}; it must be positive')
        self.temperature, self.momentum, self.init = temperature, momentum, init
        self.encoder = Encoder(backbone, head)
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.queue = MemoryQueue(queue_length, self.encoder.head.out_channels)

    def init_weights(self) -> None:
        """Initialises the encoders and makes the key encoder equal to the query encoder."""
        self.encoder.init_weights()
        if self.init == 'released':
            self.encoder.apply(released_init)
            self.key_encoder.apply(released_init)
        else:
            self.key_encoder.load_state_dict(self.encoder.state_dict())

    def update_key_encoder(self) -> None:
        """Momentum update of the key encoder (Eq. 2)."""
        momentum_update(self.key_encoder, self.encoder, self.momentum)

    def key_distance(self) -> float:
        """Relative distance between the weights of key and query encoder."""
        return relative_distance(self.key_encoder, self.encoder)

    def forward(
        self,
        inputs: Tensor | dict[str, Tensor],
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> dict | list | Tensor:
        """Losses of views (``loss``), representations (``tensor``), or samples with ``feature`` set (``predict``).

        Args:
            inputs: the views, (N, M, T, V, C) each, for ``loss``; one tensor (N, M, T, V, C) otherwise.
            data_samples: mmaction2's data samples; labels are not used.
            mode: ``loss``, ``tensor`` or ``predict``.
        """
        if mode == 'loss':
            return self.loss(inputs)
        if mode == 'tensor':
            return pool(self.encoder.backbone(inputs))
        if mode == 'predict':
            return attach_features(self.forward(inputs), data_samples)
        raise ValueError(f'unknown mode {mode!r}; known are loss, tensor and predict')

    @torch.no_grad()
    def encode_key(self, view: Tensor) -> Tensor:
        """Key embeddings z (N, D), without gradient."""
        return self.key_encoder(view)

    def logits(self, query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
        """Logits (N, 1 + K) of query embeddings, in float32 also under autocast."""
        return contrastive_logits(query, key, queue, self.temperature)

    def contrast(self, inputs: dict[str, Tensor]) -> Contrast:
        """Embeds the views, compares them with the queue and enqueues the keys."""
        queries, z = self.embed_queries(inputs), self.encode_key(inputs['key'])  # (N, D) each
        queue = self.queue.snapshot()
        self.queue.enqueue(z)
        return Contrast(queries[0], [self.logits(query, z, queue) for query in queries])

    def embed_queries(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """Embeddings (N, D) that are compared with the key and the queue, that of the query view z_hat first."""
        return [self.encoder(inputs['query'])]

    def info_term(self, contrast: Contrast) -> Term:
        """InfoNCE of the query view (Eq. 1)."""
        return Term('loss_info', info_nce(contrast.queries[0]), math.log(len(self.queue) + 1))

    def loss(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch of views, (N, M, T, V, C) each."""
        contrast = self.contrast(inputs)
        return self.losses(contrast, self.info_term(contrast))

    def losses(self, contrast: Contrast, term: Term) -> dict[str, Tensor]:
        """The contrastive term, and what is logged beside it: mean cosine between embeddings, loss of pure chance."""
        embeddings = contrast.embeddings.detach()
        return {
            term.name: term.value,
            'cosine': mean_cosine(embeddings),
            'chance': embeddings.new_zeros(()) + term.chance,
        }
