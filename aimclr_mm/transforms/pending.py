"""Crops, flips and linear maps of a batch, put together before they touch the data."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import functional as F


class PendingSkeletons:
    """Skeletons with frames still to be taken, joints to be exchanged and a linear map to be applied.

    The three do not touch each other, so that any number of them in any order becomes one index and one matrix a
    sample, and a view of five augmentations passes over its data twice and not ten times.

    Args:
        x: (N, M, T, V, C) skeletons; they are never changed.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self._given = True                                          # x is not ours to write into
        self._frames: Tensor | None = None                          # (N, T)
        self._matrix: Tensor | None = None                          # (N, d, d)
        self._exchanges: list[tuple[Sequence[int], Tensor | None]] = []

    def take_frames(self, index: Tensor, chosen: Tensor | None) -> None:
        """Frame t becomes frame ``index[n, t]``, in the chosen samples.

        Args:
            index: (N, T).
            chosen: (N,) booleans; None for all.
        """
        if chosen is not None:
            index = torch.where(chosen[:, None], index, torch.arange(index.shape[1], device=index.device))
        self._frames = index if self._frames is None else self._frames.gather(1, index)

    def select_joints(self, joints: Sequence[int], chosen: Tensor | None) -> None:
        """Joint v becomes joint ``joints[v]``, in the chosen samples."""
        self._exchanges.append((joints, chosen))

    def map(self, matrix: Tensor, chosen: Tensor | None) -> None:
        """Multiplies the coordinates of the chosen samples by ``matrix`` (N, d, d)."""
        if chosen is not None:
            eye = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
            matrix = torch.where(chosen[:, None, None], matrix, eye)
        self._matrix = matrix if self._matrix is None else matrix @ self._matrix

    def edit(self, function: Callable[[Tensor], Tensor], chosen: Tensor | None) -> None:
        """Replaces the chosen samples by ``function`` of them, after everything that is pending.

        On a CPU the function sees the chosen samples alone; on a GPU, where asking how many they are would stall it,
        all of them.
        """
        self.value()
        self._edit(function, chosen)

    def _edit(self, function: Callable[[Tensor], Tensor], chosen: Tensor | None) -> None:
        x = self.x
        if chosen is None:
            x = function(x)
        elif x.is_cuda:
            x = torch.where(chosen[:, None, None, None, None], function(x), x)
        elif len(index := chosen.nonzero()[:, 0]):
            x = x.clone() if self._given else x
            x.index_copy_(0, index, function(x.index_select(0, index)))
        self._replace(x)

    def value(self) -> Tensor:
        """The skeletons (N, M, T, V, C) after all that was pending."""
        n, m, t, v, c = self.x.shape
        if self._frames is not None:
            first = torch.arange(n * m, device=self.x.device).view(n, m, 1) * t
            rows = self.x.reshape(n * m * t, v * c).index_select(0, (first + self._frames[:, None]).flatten())
            self._replace(rows.view(n, m, t, v, c))
            self._frames = None
        exchanges, self._exchanges = self._exchanges, []
        for joints, chosen in exchanges:
            self._edit(lambda x, joints=joints: F.select_joints(x, joints), chosen)
        if self._matrix is not None:
            matrix, self._matrix = self._matrix, None
            self._replace(F.linear_map(self.x, matrix))
        return self.x

    def _replace(self, x: Tensor) -> None:
        self.x, self._given = x, self._given and x is self.x
