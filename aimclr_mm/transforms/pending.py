"""Crops, flips and linear maps of a batch, put together before they touch the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from . import functional as F


class People:
    """The people of a batch, each coordinate a plane of frames and joints.

    Two fifths of the people in NTU RGB+D's clips are absent: zero throughout. Cropped, flipped or multiplied they stay
    zero, so that one stands for all of them. A GPU would have to wait for their number; there each is computed.
    Several views of one batch share this.

    Args:
        x: (N, M, T, V, C) skeletons; they are never changed.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x

    @cached_property
    def distinct(self) -> tuple[Tensor, Tensor] | None:
        """See :func:`~aimclr_mm.transforms.functional.distinct_people`; None: each is computed."""
        if self.x.is_cuda or self.x.numel() == 0:
            return None
        rows, places = F.distinct_people(self.x.flatten(0, 1))
        return (rows, places) if len(rows) < len(places) else None

    @cached_property
    def planes(self) -> Tensor:
        """(P, 1, C, T, V), or (N, M, C, T, V) if each is computed."""
        if self.distinct is None:
            return to_planes(self.x)
        return to_planes(self.x.flatten(0, 1).index_select(0, self.distinct[0])[:, None])


def to_planes(x: Tensor) -> Tensor:
    """Memory in the order (N, M, C, T, V) of skeletons (N, M, T, V, C), copied only if it has another order."""
    return x.movedim(-1, 2).contiguous()


class PendingSkeletons:
    """Skeletons with frames still to be taken, joints to be exchanged and a linear map to be applied.

    The three do not touch each other, so that any number of them in any order becomes one index and one matrix a
    sample, and a view of five augmentations passes over its data twice and not ten times.

    Args:
        people: skeletons (N, M, T, V, C) or the people of them; they are never changed.
    """

    def __init__(self, people: Tensor | People) -> None:
        self._people = people if isinstance(people, People) else People(people)
        self.x = self._people.x  # for its shape and kind: before what is pending
        self._own = False  # whether nobody else has the memory of x
        self._frames: Tensor | None = None  # (N, T)
        self._matrix: Tensor | None = None  # (N, d, d)
        self._factors: Tensor | None = None  # (N, d), never together with a matrix
        self._exchanges: list[tuple[Sequence[int], Tensor | None]] = []

    def take_frames(self, index: Tensor, chosen: Tensor | None) -> None:
        """Frame t becomes frame ``index[n, t]``, in the chosen samples.

        Args:
            index: (N, T).
            chosen: (N,) booleans; None for all.
        """
        if chosen is not None:
            index = torch.where(
                chosen[:, None], index, torch.arange(index.shape[1], device=index.device)
            )
        self._frames = index if self._frames is None else self._frames.gather(1, index)

    def select_joints(self, joints: Sequence[int], chosen: Tensor | None) -> None:
        """Joint v becomes joint ``joints[v]``, in the chosen samples."""
        self._exchanges.append((joints, chosen))

    def map(self, matrix: Tensor, chosen: Tensor | None) -> None:
        """Multiplies the coordinates of the chosen samples by ``matrix`` (N, d, d)."""
        if chosen is not None:
            eye = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
            matrix = torch.where(chosen[:, None, None], matrix, eye)
        if self._factors is not None:
            self._matrix, self._factors = torch.diag_embed(self._factors), None
        self._matrix = matrix if self._matrix is None else matrix @ self._matrix

    def scale(self, factors: Tensor, chosen: Tensor | None) -> None:
        """Multiplies the coordinates of the chosen samples by ``factors`` (N, d)."""
        if chosen is not None:
            factors = torch.where(chosen[:, None], factors, 1)
        if self._matrix is not None:
            self._matrix = factors[:, :, None] * self._matrix
        else:
            self._factors = factors if self._factors is None else factors * self._factors

    def edit(self, function: Callable[[Tensor], Tensor], chosen: Tensor | None) -> None:
        """Replaces the chosen samples by ``function`` of them, after everything that is pending.

        On a CPU the function sees the chosen samples alone; on a GPU, where asking how many they are would stall it,
        all of them.
        """
        planes, own = self._planes()
        planes, self._own = _edit(planes, function, chosen, own)
        self.x = planes.movedim(2, -1)

    def add(self, draw: Callable[[Tensor], Tensor], chosen: Tensor | None) -> None:
        """Adds ``draw`` of the chosen samples to them, after everything that is pending; it looks at their shape only.

        As :meth:`edit`, without copies of the chosen samples.
        """
        if chosen is None or self.x.is_cuda:
            self.edit(lambda x: x + draw(x), chosen)
        elif len(index := chosen.nonzero()[:, 0]):
            planes, own = self._planes()
            planes, self._own = planes if own else planes.clone(), True
            self.x = planes.index_add_(0, index, to_planes(draw(self.x[: len(index)]))).movedim(
                2, -1
            )

    def _planes(self) -> tuple[Tensor, bool]:
        """Planes (N, M, C, T, V) after all that was pending, and whether they may be written into."""
        x = self.value()
        planes = to_planes(x)
        return planes, self._own or not _share(planes, x)

    def value(self) -> Tensor:
        """The skeletons (N, M, T, V, C) after all that was pending; in memory (N, M, C, T, V)."""
        if (
            self._frames is None
            and self._matrix is None
            and self._factors is None
            and not self._exchanges
        ):
            return self.x
        if self.x is not self._people.x:
            planes, self._own = self._finish(
                to_planes(self.x), lambda parameter: parameter, self._own
            )
        elif self._people.distinct is None:
            planes, self._own = self._finish(
                self._people.planes, lambda parameter: parameter, False
            )
        else:
            rows, places = self._people.distinct
            samples = rows // self.x.shape[1]
            planes, _ = self._finish(
                self._people.planes, lambda parameter: parameter[samples], False
            )
            planes, self._own = (
                planes[:, 0].index_select(0, places).unflatten(0, self.x.shape[:2]),
                True,
            )
        self.x = planes.movedim(2, -1)
        return self.x

    def _finish(
        self, planes: Tensor, of_people: Callable[[Tensor], Tensor], own: bool
    ) -> tuple[Tensor, bool]:
        """All that is pending, applied to planes (P, M, C, T, V); ``of_people`` takes the rows of their samples."""
        if self._frames is not None:
            p, m, c, t, v = planes.shape
            first = torch.arange(p * m * c, device=planes.device).view(p, m * c, 1) * t
            rows = (first + of_people(self._frames)[:, None]).flatten()
            planes, own = planes.view(-1, v).index_select(0, rows).view(p, m, c, t, v), True
        for joints, chosen in self._exchanges:
            chosen = None if chosen is None else of_people(chosen)
            planes, own = _edit(
                planes, lambda x, joints=joints: F.select_joints(x, joints), chosen, own
            )
        if self._matrix is not None:
            planes, own = (
                to_planes(F.linear_map(planes.movedim(2, -1), of_people(self._matrix))),
                True,
            )
        if self._factors is not None:
            factors = F.pad_factors(of_people(self._factors), planes.shape[2])[
                :, None, :, None, None
            ]
            planes, own = planes.mul_(factors) if own else planes * factors, True
        self._frames = self._matrix = self._factors = None
        self._exchanges = []
        return planes, own


def _share(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors lie in the same memory."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _edit(
    planes: Tensor, function: Callable[[Tensor], Tensor], chosen: Tensor | None, own: bool
) -> tuple[Tensor, bool]:
    """Planes (N, M, C, T, V) with ``function`` of the chosen samples' skeletons, written into if they are our own.

    Returns:
        the planes, and whether they are our own now.
    """
    if chosen is None:
        result = to_planes(function(planes.movedim(2, -1)))
        return result, own or not _share(result, planes)
    if planes.is_cuda:
        new = function(planes.movedim(2, -1)).movedim(-1, 2)
        return torch.where(chosen[:, None, None, None, None], new, planes), True
    if len(index := chosen.nonzero()[:, 0]):
        planes, own = planes if own else planes.clone(), True
        planes.index_copy_(
            0, index, to_planes(function(planes.index_select(0, index).movedim(2, -1)))
        )
    return planes, own
