"""SkeletonCLR (Li et al., CVPR 2021): MoCo v2 for skeletons ("SkeletonCLR Overview")."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from aimclr_mm.models.data_preprocessor import build_preprocessor
from aimclr_mm.models.encoder import (
    Encoder,
    attach_features,
    momentum_update,
    relative_distance,
    released_init,
)
from aimclr_mm.models.losses import contrastive_logits, info_nce
from aimclr_mm.models.memory_bank import MemoryBank
from aimclr_mm.models.readouts import READOUTS, represent
from aimclr_mm.utils.arguments import check_choice

MODES = ('loss', 'tensor', 'predict')  # of mmengine's forward


@MODELS.register_module()
class SkeletonCLR(BaseModel):
    """Contrast a query view with a key view of the same sequence against a memory bank.

    Args:
        backbone: config of the backbone f, (N, M, T, V, C) -> (N, M, C', T', V).
        head: config of the projection head g.
        queue_length: K, the length of the memory bank.
        temperature: tau.
        momentum: m of Eq. 2, the weight of the key encoder's old value; the
            :class:`~aimclr_mm.engine.MomentumUpdateHook` updates it before every iteration.
        init: ``default`` keeps the layers' own initialization and copies it to the key encoder;
            ``released`` draws both encoders from N(0, 0.02), as the released code does.
        readout: how representations h are read out of the last feature map outside of training, see
            :func:`~aimclr_mm.models.readouts.read_out`; the losses always use the mean.
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        queue_length: int = 32768,
        temperature: float = 0.07,
        momentum: float = 0.999,
        init: str = 'default',
        readout: str = 'mean',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(build_preprocessor(data_preprocessor), init_cfg)
        check_choice('init', init, ('default', 'released'))
        check_choice('readout', readout, READOUTS)
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum={momentum}; the weight of the old value must lie in [0, 1]')
        if not 0 < temperature < math.inf:
            raise ValueError(f'temperature={temperature}; it must be positive and finite')

        self.temperature = temperature
        self.momentum = momentum
        self.init = init
        self.readout = readout
        self.encoder = Encoder(backbone, head)
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.memory_bank = MemoryBank(queue_length, self.encoder.head.out_channels)

    def loss(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return InfoNCE (Eq. 1) of the views ``query`` and ``key``, (N, M, T, V, C) each."""
        query = self.encoder(views['query'])  # (N, D)
        key = self.encode_key(views['key'])  # (N, D), no gradient

        (logits,) = self.compare([query], key)  # (N, 1 + K)
        self.memory_bank.enqueue(key)
        return dict(loss_info=info_nce(logits))

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

    def forward(
        self,
        inputs: Tensor | dict[str, Tensor],
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> dict | list | Tensor:
        """Run one of mmengine's three modes.

        Args:
            inputs: the views, (N, M, T, V, C) each, for ``loss``; else one tensor (N, M, T, V, C).
            data_samples: mmaction2's data samples; their labels are not used.
            mode: ``loss`` returns losses, ``tensor`` representations h (N, D), ``predict`` the
                data samples with the field ``feature``.
        """
        check_choice('mode', mode, MODES)
        if mode == 'loss':
            return self.loss(inputs)

        features = represent(self.encoder.backbone, inputs, self.readout)  # (N, D)
        return features if mode == 'tensor' else attach_features(features, data_samples)

    def init_weights(self) -> None:
        """Initialize both encoders; by default the key encoder starts as a copy."""
        self.encoder.init_weights()
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
        return math.log(len(self.memory_bank) + 1)
