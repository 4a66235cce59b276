"""The batch that goes from the dataset to the data preprocessor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import BaseDataElement
from torch import Tensor


class SkeletonBatch(NamedTuple):
    """A batch of skeletons. As a named tuple it passes workers, pinning and device transfers.

    Attributes:
        inputs: (N, clips, M, T, V, C) joint coordinates.
        data_samples: the N data samples, or dicts of their fields; None if only the inputs are
            needed.
    """

    inputs: Tensor
    data_samples: Sequence[BaseDataElement | dict] | None = None


def as_batch(data: SkeletonBatch | Mapping) -> SkeletonBatch:
    """Convert the output of a data loader to a SkeletonBatch.

    Args:
        data: a batch, or a mapping made by mmengine's ``pseudo_collate`` of samples of mmaction2's
            ``PackActionInputs``. Its ``inputs`` are N tensors (clips, M, T, V, C) or
            one tensor (N, clips, M, T, V, C); ``data_samples`` are optional.
    """
    if isinstance(data, SkeletonBatch):
        return data

    inputs = data['inputs']
    if not isinstance(inputs, Tensor):
        inputs = torch.stack(tuple(inputs))
    return SkeletonBatch(inputs, data.get('data_samples'))


@FUNCTIONS.register_module()
def collate_skeletons(samples: SkeletonBatch | Sequence[Mapping]) -> SkeletonBatch:
    """Collate samples of mmaction2's ``PackActionInputs``; return whole batches unchanged.

    A config uses it as ``collate_fn=dict(type='collate_skeletons')`` of a data loader.
    """
    if isinstance(samples, SkeletonBatch):
        return samples
    return as_batch(pseudo_collate(samples))
