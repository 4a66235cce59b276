"""Several streams trained together: CrosSCLR (Li et al., CVPR 2021) and 3s-AimCLR with mining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn

from aimclr_mm.models.data_preprocessor import STREAMS, build_preprocessor
from aimclr_mm.models.encoder import attach_features
from aimclr_mm.models.losses import REDUCTIONS, cross_stream_loss, d3m, nearest_neighbors
from aimclr_mm.utils.arguments import check_choice

from .aimclr import AimCLR, require_extreme_view
from .skeletonclr import MODES, SkeletonCLR


@MODELS.register_module()
class CrossStream(BaseModel):
    """Train one model per stream; in the second stage the streams mine positives for one another.

    In the first stage every stream has the losses of its own method. In the second stage its
    contrastive loss is the mean, over the other streams, of the contrast with the positives that
    they have mined: the nearest neighbors of all their queries (z^ in SkeletonCLR; z^, z~ and
    z~_drop in AimCLR). AimCLR's D3M loss stays.

    With SkeletonCLR as ``model`` this is CrosSCLR, with AimCLR it is 3s-AimCLR with cross-stream
    mining (marked with a section sign in the paper's tables, which do not give its equations).

    Args:
        model: config of the method that each stream is trained with.
        streams: two or three of ``joint``, ``bone`` and ``motion``.
        topk: neighbors that each query of another stream mines.
        context: whether the products of two streams' similarities are added as logits.
        mining_reduction: ``mean`` over positives (released CrosSCLR) or their ``sum`` (Eq. 9).
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews` with the same streams.

    Raises:
        ValueError: if an argument is out of range or the streams differ.
    """

    def __init__(
        self,
        model: dict,
        streams: Sequence[str] = tuple(STREAMS),
        topk: int = 1,
        context: bool = True,
        mining_reduction: str = 'mean',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(build_preprocessor(data_preprocessor), init_cfg)
        self._check_streams(streams)
        check_choice('mining_reduction', mining_reduction, REDUCTIONS)

        self.streams = nn.ModuleDict({stream: MODELS.build(model) for stream in streams})
        if any(isinstance(single, AimCLR) for single in self.streams.values()):
            require_extreme_view(self.data_preprocessor)

        length = min(len(single.memory_bank) for single in self.streams.values())
        if not 1 <= topk <= length:
            raise ValueError(f'topk={topk}; it must lie between 1 and queue_length={length}')

        self.topk = topk
        self.context = context
        self.mining_reduction = mining_reduction
        self.mining = False  # second stage; the StageSwitchHook sets it before each epoch
        # mean size of the last batch's positive sets, by stream
        self.register_buffer('num_positives', torch.ones(len(streams)), persistent=False)

    def _check_streams(self, streams: Sequence[str]) -> None:
        is_valid = len(streams) >= 2 and len(set(streams)) == len(streams)
        if not is_valid or not set(streams) <= set(STREAMS):
            raise ValueError(
                f'streams={list(streams)}; give two or three different ones of {", ".join(STREAMS)}'
            )

        formed = getattr(self.data_preprocessor, 'stream', streams)
        if isinstance(formed, str) or not set(streams) <= set(formed):
            raise ValueError(
                f'the data preprocessor forms the stream {formed!r}, but the model needs '
                f'{list(streams)}; set data_preprocessor.stream to the same list'
            )

    def loss(self, inputs: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of all streams, each named ``<stream>.<loss>``."""
        if self.mining:
            losses = self.cross_losses(inputs)
        else:
            losses = {
                stream: single.loss(inputs[stream]) for stream, single in self.streams.items()
            }

        return {
            f'{stream}.{name}': value
            for stream, terms in losses.items()
            for name, value in terms.items()
        }

    def cross_losses(self, inputs: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Return the losses of the second stage, with positives mined by the other streams."""
        logits, positives = {}, {}
        for index, (stream, single) in enumerate(self.streams.items()):
            logits[stream] = compare_views(single, inputs[stream])
            positives[stream] = nearest_neighbors(logits[stream], self.topk)  # (N, 1 + K)
            self.num_positives[index] = positives[stream].sum(dim=1).float().mean()

        losses = {}
        for stream, single in self.streams.items():
            normal, *extreme = logits[stream]
            terms = [
                cross_stream_loss(
                    normal,
                    logits[other][0],
                    positives[other],
                    single.temperature,
                    self.context,
                    self.mining_reduction,
                )
                for other in self.streams
                if other != stream
            ]
            losses[stream] = dict(loss_cross=contrast_weight(single) * sum(terms) / len(terms))
            if extreme:
                losses[stream]['loss_d3m'] = single.beta * d3m(normal, *extreme)  # Eq. 7, 8
        return losses

    def forward(
        self,
        inputs: dict[str, Tensor] | dict[str, dict[str, Tensor]],
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> dict | list | Tensor:
        """Run one of mmengine's three modes.

        Args:
            inputs: by stream, the ``inputs`` of :meth:`SkeletonCLR.forward`.
            data_samples: mmaction2's data samples; their labels are not used.
            mode: ``loss``, ``tensor`` or ``predict``, see :meth:`SkeletonCLR.forward`.

        Returns:
            For ``tensor``, the concatenated representations (N, S * D) of the S streams. Each is a
            unit vector times the square root of its fusion weight, so that the cosine similarity of
            two samples is the weighted mean of those of the streams.
        """
        check_choice('mode', mode, MODES)
        if mode == 'loss':
            return self.loss(inputs)

        features = [
            math.sqrt(STREAMS[stream]) * F.normalize(single(inputs[stream]).float(), dim=1)
            for stream, single in self.streams.items()
        ]
        features = torch.cat(features, dim=1)
        return features if mode == 'tensor' else attach_features(features, data_samples)

    def init_weights(self) -> None:
        """Initialize each stream."""
        for single in self.streams.values():
            single.init_weights()

    def update_key_encoder(self) -> None:
        """Move every stream's key encoder towards its query encoder (Eq. 2)."""
        for single in self.streams.values():
            single.update_key_encoder()

    def key_distance(self) -> float:
        """Return the relative distance of key and query encoder, mean over streams."""
        return mean(single.key_distance() for single in self.streams.values())

    def chance_loss(self) -> float:
        """Return the total loss of the current stage when all similarities are equal."""
        if not self.mining:
            return sum(single.chance_loss() for single in self.streams.values())

        copies = 2 if self.context else 1  # of each key among the logits
        total = 0.0
        for stream, single in self.streams.items():
            length = len(single.memory_bank)
            counts = [
                1 + copies * (count - 1) if self.mining_reduction == 'sum' else 1.0
                for other, count in zip(self.streams, self.num_positives.tolist())
                if other != stream
            ]
            total += contrast_weight(single) * mean(counts) * math.log(copies * length + 1)
            if isinstance(single, AimCLR):
                total += single.beta * math.log(length + 1)
        return total


def compare_views(single: SkeletonCLR, views: dict[str, Tensor]) -> list[Tensor]:
    """Return the logits (N, 1 + K) of z^ and, for AimCLR, of z~ and z~_drop; enqueue the keys."""
    queries = [single.encoder(views['query'])]  # (N, D) each
    if isinstance(single, AimCLR):
        queries += single.embed_extreme(views['extreme'])

    key = single.encode_key(views['key'])  # (N, D), no gradient
    logits = single.compare(queries, key)
    single.memory_bank.enqueue(key)
    return logits


def contrast_weight(single: SkeletonCLR) -> float:
    """Return alpha, the weight of a method's contrastive loss."""
    return single.alpha if isinstance(single, AimCLR) else 1.0
