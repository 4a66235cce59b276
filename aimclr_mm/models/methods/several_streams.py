"""Several streams trained in one run: one method per stream, and representations of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn

from aimclr_mm.models.data_preprocessor import STREAMS, build_preprocessor
from aimclr_mm.models.encoder import attach_features
from aimclr_mm.utils.arguments import check_choice

from .base import MODES
from .skeletonclr import SkeletonCLR


def models_by_stream(model: Mapping, streams: Sequence[str]) -> dict[str, Mapping]:
    """Return the config of each stream's method: the same for all, or one for each.

    Raises:
        ValueError: if a stream has none.
    """
    if 'type' in model:
        return dict.fromkeys(streams, model)
    if set(model) != set(streams):
        raise ValueError(
            f'model has configs of {", ".join(model)}, but streams={list(streams)}; give one '
            'config for each stream, or a single one with a type for all'
        )
    return dict(model)


def compare_views(
    single: SkeletonCLR, views: dict[str, Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the logits (N, 1 + K) of each query and the additional losses; enqueue the keys."""
    queries = single.embed_queries(views)  # (N, D) each
    key = single.encode_key(views['key'])  # (N, D), no gradient

    logits = single.compare(queries, key)
    additions = single.additions(views, key)
    single.memory_bank.enqueue(key)
    return logits, additions


class SeveralStreams(BaseModel):
    """Base class of methods that train one model per stream.

    A subclass overrides :meth:`stream_losses` and :meth:`chance_loss`.

    Args:
        model: config of the method that each stream is trained with, or a dict of them by stream.
        streams: two or three of ``joint``, ``bone`` and ``motion``.
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews` with the same streams.

    Raises:
        ValueError: if the streams differ, or the method has no memory bank.
    """

    def __init__(
        self,
        model: dict,
        streams: Sequence[str] = tuple(STREAMS),
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(build_preprocessor(data_preprocessor), init_cfg)
        self._check_streams(streams)
        models = models_by_stream(model, streams)
        self.streams = nn.ModuleDict({stream: MODELS.build(models[stream]) for stream in streams})
        for single in self.streams.values():
            if not isinstance(single, SkeletonCLR):
                raise ValueError(
                    f'{type(single).__name__} has no memory bank, which {type(self).__name__} '
                    'needs; use a method that builds on SkeletonCLR as its model'
                )
            single.check_views(self.data_preprocessor)

    @property
    def length(self) -> int:
        """Length of the shortest memory bank."""
        return min(len(single.memory_bank) for single in self.streams.values())

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
        return {
            f'{stream}.{name}': value
            for stream, terms in self.stream_losses(inputs).items()
            for name, value in terms.items()
        }

    def stream_losses(self, inputs: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Return the losses of each stream; here those of its own method."""
        return {stream: single.loss(inputs[stream]) for stream, single in self.streams.items()}

    def chance_loss(self) -> float:
        """Return the total loss when all similarities are equal; here that of the methods."""
        return sum(single.chance_loss() for single in self.streams.values())

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
            math.sqrt(STREAMS[stream])
            * F.normalize(single.represent(inputs[stream], stream).float(), dim=1)
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
