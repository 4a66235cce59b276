"""Several streams trained at once: CrosSCLR (Li et al., CVPR 2021) and the paper's cross-stream AimCLR."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn

from aimclr_mm.models.data_preprocessor import STREAMS, build_preprocessor
from aimclr_mm.models.encoder import attach_features
from aimclr_mm.models.losses import cross_stream_loss, nearest_neighbors

from .skeletonclr import Contrast, Term


@MODELS.register_module()
class CrossStream(BaseModel):
    """One model a stream, each with its own encoders and queue; in the second stage they mine positives for another.

    In the first stage every stream has the losses of its own method. In the second one its contrastive term is the
    mean, over the other streams, of the contrast with the positives that they have mined: the nearest neighbours of
    all their queries (of z_hat in SkeletonCLR; of z_hat, z~ and z~_drop in AimCLR). What else a method has, such as
    AimCLR's D3M loss, stays. With SkeletonCLR as ``model`` this is CrosSCLR, with AimCLR it is 3s-AimCLR (section
    sign in the paper's tables; the paper does not write its equations down).

    Args:
        model: config of the method that each stream is trained with.
        streams: two or three of ``joint``, ``bone`` and ``motion``.
        topk: neighbours that each query of another stream mines.
        context: whether the products of the streams' similarities join the logits.
        mining_reduction: ``mean`` over positives (the code of CrosSCLR) or their ``sum`` (Eq. 9).
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews` with the same ``stream``.
    """

    def __init__(
        self,
        model: dict,
        streams: Sequence[str] = tuple(STREAMS),
        topk: int = 1,
        context: bool = True,
        mining_reduction: str = 'mean',
        data_preprocessor: dict | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(build_preprocessor(data_preprocessor), init_cfg)
        if len(streams) < 2 or len(set(streams)) < len(streams) or not set(streams) <= set(STREAMS):
            raise ValueError(
                f'streams={list(streams)}; give two or three different ones of {", ".join(STREAMS)}'
            )
        formed = getattr(self.data_preprocessor, 'stream', streams)
        if isinstance(formed, str) or not set(streams) <= set(formed):
            raise ValueError(
                f'the data preprocessor forms the stream {formed!r}, the model needs {list(streams)}; '
                'give both the same'
            )
        if mining_reduction not in ('sum', 'mean'):
            raise ValueError(f"mining_reduction={mining_reduction!r}; known are 'sum' and 'mean'")
        self.streams = nn.ModuleDict({stream: MODELS.build(model) for stream in streams})
        length = min(len(single.queue) for single in self.streams.values())
        if not 1 <= topk <= length:
            raise ValueError(f'topk={topk}; it must lie between 1 and the queue length {length}')
        self.topk, self.context, self.mining_reduction = topk, context, mining_reduction
        self.mining = False  # second training stage; set before each epoch by the StageSwitchHook

    def init_weights(self) -> None:
        """Initialises each stream."""
        for single in self.streams.values():
            single.init_weights()

    def update_key_encoder(self) -> None:
        """Momentum update of every stream's key encoder (Eq. 2)."""
        for single in self.streams.values():
            single.update_key_encoder()

    def key_distance(self) -> float:
        """Relative distance between the weights of key and query encoder, mean over streams."""
        return sum(single.key_distance() for single in self.streams.values()) / len(self.streams)

    def forward(
        self,
        inputs: dict[str, Tensor] | dict[str, dict[str, Tensor]],
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> dict | list | Tensor:
        """Losses of views (``loss``), representations (``tensor``), or samples with ``feature`` set (``predict``).

        Args:
            inputs: for each stream what :meth:`SkeletonCLR.forward` takes.
            data_samples: mmaction2's data samples; labels are not used.
            mode: ``loss``, ``tensor`` or ``predict``.

        Returns:
            Representations (N, S * C) have the S streams side by side, each as a unit vector times the root of its
            weight in fusion, so that their cosine similarity is the weighted mean of those of the streams.
        """
        if mode not in ('loss', 'tensor', 'predict'):
            raise ValueError(f'unknown mode {mode!r}; known are loss, tensor and predict')
        if mode == 'loss':
            return self.loss(inputs)
        features = [
            math.sqrt(STREAMS[stream]) * F.normalize(single(inputs[stream]).float(), dim=1)
            for stream, single in self.streams.items()
        ]
        features = torch.cat(features, dim=1)
        return attach_features(features, data_samples) if mode == 'predict' else features

    def loss(self, inputs: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
        """Losses of all streams, each named ``<stream>.<loss>``; their chance levels and mean cosines together."""
        contrasts = {
            stream: single.contrast(inputs[stream]) for stream, single in self.streams.items()
        }
        results = {}
        for stream, single in self.streams.items():
            term = (
                self.cross_term(stream, contrasts)
                if self.mining
                else single.info_term(contrasts[stream])
            )
            results[stream] = single.losses(contrasts[stream], term)
        merged = {
            f'{stream}.{name}': value
            for stream, result in results.items()
            for name, value in result.items()
        }
        return dict(
            merged,
            cosine=torch.stack([result['cosine'] for result in results.values()]).mean(),
            chance=sum(result['chance'] for result in results.values()),
        )

    def cross_term(self, stream: str, contrasts: dict[str, Contrast]) -> Term:
        """Contrast of a stream with the positives that the other streams have mined, mean over those streams."""
        single, own = self.streams[stream], contrasts[stream].queries[0]
        values, chances = [], []
        for other, contrast in contrasts.items():
            if other == stream:
                continue
            positives = nearest_neighbors(
                [logits.detach() for logits in contrast.queries], self.topk
            )
            values.append(
                cross_stream_loss(
                    own,
                    contrast.queries[0],
                    positives,
                    single.temperature,
                    self.context,
                    self.mining_reduction,
                )
            )
            mined = (positives.sum(dim=1).float().mean() - 1) * (2 if self.context else 1)
            count = 1 + mined if self.mining_reduction == 'sum' else 1.0
            chances.append(count * math.log((2 if self.context else 1) * len(single.queue) + 1))
        return Term('loss_cross', sum(values) / len(values), sum(chances) / len(chances))
