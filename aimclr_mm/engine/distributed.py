"""What the ranks of a run tell each other."""

from __future__ import annotations

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def any_rank(value: bool) -> bool:
    """Whether a value is true on any rank; all ranks must ask."""
    if get_world_size() == 1:
        return value
    flag = torch.tensor([float(value)])
    all_reduce(flag, 'max')
    return bool(flag.item())


def statistics_of_ranks(model: nn.Module) -> list[dict[str, Tensor]]:
    """The statistics of batch norm of every rank, which differ in the middle of an epoch; all ranks must ask.

    Empty where there is one rank.
    """
    if get_world_size() == 1:
        return []
    buffers = {
        name: value.cpu()
        for name, value in unwrap(model).named_buffers()
        if name.endswith(('running_mean', 'running_var'))
    }
    return all_gather_object(buffers)
