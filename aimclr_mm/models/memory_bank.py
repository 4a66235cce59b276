"""The memory bank M: a first-in-first-out queue of keys ("SkeletonCLR Overview")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn

MAX_DEVIATION = 0.05  # of the length of a saved key, which half precision rounds


class MemoryBank(nn.Module):
    """Hold the last K keys as negatives; saved in checkpoints and equal on all ranks.

    The write position wraps around, so K need not be a multiple of the batch size.

    Args:
        length: K, the number of keys.
        dim: D, the size of an embedding.

    Raises:
        ValueError: if ``length`` is below 1.
    """

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f'queue_length={length}; the memory bank must hold at least one key')

        self.register_buffer('keys', F.normalize(torch.randn(length, dim), dim=1))  # (K, D)
        self.register_buffer('pointer', torch.zeros((), dtype=torch.long))  # next row to overwrite

    def value_defect(self, keys: Tensor, pointer: Tensor) -> str:
        """Return what is wrong with saved keys (K, D) and their pointer; empty if nothing is."""
        norms = keys.float().norm(dim=1)
        wrong = int(((norms - 1).abs() > MAX_DEVIATION).sum())
        if wrong:
            return f'keys holds {wrong} keys that are not of length 1'
        if not 0 <= int(pointer) < len(self):
            return f'pointer is {int(pointer)}; it must be 0 to {len(self) - 1}'
        return ''

    def __len__(self) -> int:
        return len(self.keys)

    def snapshot(self) -> Tensor:
        """Return a copy of the keys (K, D) that autograd may keep while the bank moves on."""
        return self.keys.clone()

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Replace the oldest keys with the keys (N, D) of every rank, in rank order.

        Raises:
            ValueError: if all ranks together bring more than K keys.
        """
        keys = torch.cat(all_gather(keys.contiguous()))
        if len(keys) > len(self):
            raise ValueError(
                f'the memory bank holds {len(self)} keys, but a batch over all ranks has '
                f'{len(keys)}; increase queue_length or decrease the batch size'
            )

        index = (self.pointer + torch.arange(len(keys), device=keys.device)) % len(self)
        self.keys[index] = keys.to(self.keys.dtype)
        self.pointer.copy_((self.pointer + len(keys)) % len(self))
