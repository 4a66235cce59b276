"""The memory bank of negatives: a first-in-first-out queue of keys (M in the paper, K long here)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn


class MemoryQueue(nn.Module):
    """First-in-first-out queue of unit embeddings; part of checkpoints, equal on all ranks.

    Any length works with any batch size that is not larger: the write position wraps around.

    Args:
        length: K.
        dim: D.
    """

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f'queue_length={length}; the queue must hold at least one key')
        self.register_buffer('keys', F.normalize(torch.randn(length, dim), dim=1))
        self.register_buffer('pointer', torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.keys)

    def snapshot(self) -> Tensor:
        """Copy of the keys (K, D), safe to keep in a graph while the queue moves on."""
        return self.keys.clone()

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Replaces the oldest keys by the keys (N, D) of every rank, in the order of the ranks.

        Raises:
            ValueError: if all ranks together bring more keys than the queue holds.
        """
        keys = torch.cat(all_gather(keys.contiguous()))
        if len(keys) > len(self):
            raise ValueError(
                f'the queue holds {len(self)} keys, but a batch over all ranks has {len(keys)}; make '
                'queue_length at least as large, or the batch smaller'
            )
        index = (self.pointer + torch.arange(len(keys), device=keys.device)) % len(self)
        self.keys[index] = keys.to(self.keys.dtype)
        self.pointer.copy_((self.pointer + len(keys)) % len(self))
