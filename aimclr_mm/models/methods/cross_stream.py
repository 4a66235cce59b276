"""Several streams trained together: CrosSCLR (Li et al., CVPR 2021) and 3s-AimCLR with mining."""

from __future__ import annotations

import math
from statistics import mean
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.losses import REDUCTIONS, cross_stream_loss, nearest_neighbors
from aimclr_mm.utils.arguments import check_choice

from .aimclr import AimCLR
from .several_streams import SeveralStreams, compare_views
from .skeletonclr import SkeletonCLR


@MODELS.register_module()
class CrossStream(SeveralStreams):
    """Train one model per stream; in the second stage the streams mine positives for one another.

    In the first stage every stream has the losses of its own method. In the second stage its
    contrastive loss is the mean, over the other streams, of the contrast with the positives that
    they have mined: the nearest neighbors of all their queries (z^ in SkeletonCLR; z^, z~ and
    z~_drop in AimCLR). AimCLR's D3M loss stays.

    With SkeletonCLR as ``model`` this is CrosSCLR, with AimCLR it is 3s-AimCLR with cross-stream
    mining (marked with a section sign in the paper's tables, which do not give its equations).

    Args:
        topk: neighbors that each query of another stream mines.
        context: whether the products of two streams' similarities are added as logits.
        mining_reduction: ``mean`` over positives (released CrosSCLR) or their ``sum`` (Eq. 9).
        *args, **kwargs: see :class:`SeveralStreams`.

    Raises:
        ValueError: if an argument is out of range or the streams differ.
    """

    def __init__(
        self,
        *args: Any,
        topk: int = 1,
        context: bool = True,
        mining_reduction: str = 'mean',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_choice('mining_reduction', mining_reduction, REDUCTIONS)
        if not 1 <= topk <= self.length:
            raise ValueError(f'topk={topk}; it must lie between 1 and queue_length={self.length}')

        self.topk = topk
        self.context = context
        self.mining_reduction = mining_reduction
        self.mining = False  # second stage; the StageSwitchHook sets it before each epoch
        # mean size of the last batch's positive sets, by stream
        self.register_buffer('num_positives', torch.ones(len(self.streams)), persistent=False)

    def stream_losses(self, inputs: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Return the losses of each stream in the current stage."""
        return self.cross_losses(inputs) if self.mining else super().stream_losses(inputs)

    def cross_losses(self, inputs: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Return the losses of the second stage, with positives mined by the other streams."""
        logits, additions, positives = {}, {}, {}
        for index, (stream, single) in enumerate(self.streams.items()):
            logits[stream], additions[stream] = compare_views(single, inputs[stream])
            positives[stream] = nearest_neighbors(logits[stream], self.topk)  # (N, 1 + K)
            self.num_positives[index] = positives[stream].sum(dim=1).float().mean()

        losses = {}
        for stream, single in self.streams.items():
            terms = [
                cross_stream_loss(
                    logits[stream][0],
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
            if isinstance(single, AimCLR):
                losses[stream]['loss_d3m'] = single.beta * single.divergence(logits[stream])
            losses[stream].update(additions[stream])
        return losses

    def chance_loss(self) -> float:
        """Return the total loss of the current stage when all similarities are equal."""
        if not self.mining:
            return super().chance_loss()

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
            total += single.chance_of_additions()
        return total


def contrast_weight(single: SkeletonCLR) -> float:
    """Return alpha, the weight of a method's contrastive loss."""
    return single.alpha if isinstance(single, AimCLR) else 1.0
