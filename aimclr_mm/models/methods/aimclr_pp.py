"""AimCLR++, by the authors of AimCLR: three streams that vote on the positives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.losses import mining_loss, nearest_neighbors

from .aimclr import AimCLR
from .several_streams import SeveralStreams, compare_views


@MODELS.register_module()
class AimCLRPlusPlus(SeveralStreams):
    """AimCLR in several streams; in the third stage, the streams vote on the positives.

    First and second stage are AimCLR's, stream by stream, with neighbors mined in the second. In
    the third stage a key of the memory bank is a candidate of a stream if it is among the nearest
    of both its normal and its extreme query, and a positive of all streams if enough streams have
    it as a candidate. The streams' memory banks hold the keys of the same sequences.

    Args:
        topk: neighbors of each query that are candidates in the third stage.
        votes: streams that must have the same candidate.
        *args, **kwargs: see :class:`SeveralStreams`; the model is :class:`AimCLR` without EADM.

    Raises:
        ValueError: if an argument is out of range, the streams differ, or the model is another.
    """

    def __init__(self, *args: Any, topk: int = 20, votes: int = 2, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not all(isinstance(single, AimCLR) for single in self.streams.values()):
            raise ValueError('AimCLR++ trains streams of AimCLR; set model.model.type to AimCLR')
        if not 1 <= topk <= self.length:
            raise ValueError(f'topk={topk}; it must lie between 1 and queue_length={self.length}')
        if not 1 <= votes <= len(self.streams):
            raise ValueError(
                f'votes={votes}; it must lie between 1 and the number of streams, '
                f'{len(self.streams)}'
            )

        self.topk = topk
        self.votes = votes
        self.voting = False  # third stage; a StageSwitchHook sets it before each epoch

    @property
    def mining(self) -> bool:
        """Whether the second stage, or the third, has begun; in all streams at once."""
        return all(single.mining for single in self.streams.values())

    @mining.setter
    def mining(self, value: bool) -> None:
        for single in self.streams.values():
            single.mining = value

    def stream_losses(self, inputs: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Return the losses of each stream in the current stage."""
        if not self.voting:
            return super().stream_losses(inputs)

        logits, losses = {}, {}
        for stream, single in self.streams.items():
            logits[stream], losses[stream] = compare_views(single, inputs[stream])
        positives = vote(logits.values(), self.topk, self.votes)  # (N, 1 + K)

        for stream, single in self.streams.items():
            contrast = mining_loss(logits[stream][0], positives, 'mean')
            losses[stream]['loss_vote'] = single.alpha * contrast
            losses[stream]['loss_d3m'] = single.beta * single.divergence(logits[stream])
        return losses

    def chance_loss(self) -> float:
        """Return the total loss of the current stage when all similarities are equal."""
        if not self.voting:
            return super().chance_loss()
        return sum(
            (single.alpha + single.beta) * math.log(len(single.memory_bank) + 1)
            + single.chance_of_additions()
            for single in self.streams.values()
        )


def vote(logits: Iterable[Sequence[Tensor]], k: int, votes: int) -> Tensor:
    """Return the positives on which several streams agree.

    Args:
        logits: of each stream, the logits (N, 1 + K) of each of its queries.
        k: neighbors of each query; those of all queries of a stream are its candidates.
        votes: streams that must have a candidate.

    Returns:
        Boolean mask (N, 1 + K); column 0, the own key, is true.
    """
    candidates = [
        torch.stack([nearest_neighbors([query], k) for query in queries]).all(dim=0)
        for queries in logits
    ]
    return torch.stack(candidates).sum(dim=0) >= votes
