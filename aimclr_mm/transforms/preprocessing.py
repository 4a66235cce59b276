"""The preprocessing of the paper ("we follow SkeletonCLR and CrosSCLR"), one transform a step.

Its order is :class:`CenterSkeleton`, :class:`ResizeClip`, :class:`AlignShoulders`, then mmaction2's
``FormatGCNInput``, which keeps the first two bodies.
"""

from __future__ import annotations

import torch
from mmaction.registry import TRANSFORMS
from torch import Tensor

from . import functional as F
from .base import SkeletonTransform


@TRANSFORMS.register_module()
class CenterSkeleton(SkeletonTransform):
    """Makes the layout's centre joint the origin, person by person.

    Args:
        frame: ``each`` (the paper's preprocessing) centres every frame by itself; ``first`` moves the whole clip by
            the place in the person's first frame and so keeps the path of the body.
        layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, frame: str = 'each', layout='ntu25') -> None:
        super().__init__(layout)
        if frame not in ('each', 'first'):
            raise ValueError(f"CenterSkeleton: frame={frame!r}; known are 'each' and 'first'")
        self.frame = frame

    def batch(self, x: Tensor) -> Tensor:
        """Centres skeletons (N, M, T, V, C)."""
        return F.center(x, self.layout.center_index, self.layout.dims, self.frame)


@TRANSFORMS.register_module()
class ResizeClip(SkeletonTransform):
    """Resizes the clip to a fixed number of frames by linear interpolation.

    As in the released preprocessing, the clip counts as many frames as hold the first body, from its beginning; a
    clip in which the first body never appears is taken whole.

    Args:
        length: frames of the result.
        max_frames: of a longer clip only so many frames are taken first.
        surplus: which frames of a longer clip are left out: ``end``, or ``both`` ends so that its middle stays, as
            the authors do with PKU-MMD.
        layout: see :class:`SkeletonTransform`.
    """

    def __init__(
        self, length: int = 50, max_frames: int = 300, surplus: str = 'end', layout='ntu25'
    ) -> None:
        super().__init__(layout)
        if length < 1 or max_frames < 1:
            raise ValueError(
                f'ResizeClip: length={length}, max_frames={max_frames}; both must be at least 1'
            )
        if surplus not in ('end', 'both'):
            raise ValueError(f"ResizeClip: surplus={surplus!r}; known are 'end' and 'both'")
        self.length, self.max_frames, self.surplus = length, max_frames, surplus

    def batch(self, x: Tensor) -> Tensor:
        """Resizes skeletons (N, M, T, V, C), each sample by its own number of frames."""
        total = x.shape[2]
        if total == 0:
            raise ValueError('ResizeClip: the clip has no frames')
        taken = torch.sym_min(
            total, self.max_frames
        )  # not Python's min: an exported graph keeps T open
        start = (total - taken) // 2 if self.surplus == 'both' else 0
        place = torch.arange(total, device=x.device)
        held = x[:, 0, :, :, : self.layout.dims].flatten(2).ne(0).any(dim=2)  # (N, T)
        frames = (held & (place >= start) & (place < start + taken)).sum(dim=1)
        return F.resize_frames(x, self.length, torch.where(frames == 0, taken, frames), start)


@TRANSFORMS.register_module()
class AlignShoulders(SkeletonTransform):
    """Turns each person about the vertical until the shoulder line is parallel to x. Needs three coordinates.

    Args:
        layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, layout='ntu25') -> None:
        super().__init__(layout)
        self._need_3d()

    def batch(self, x: Tensor) -> Tensor:
        """Turns skeletons (N, M, T, V, C)."""
        return F.align_shoulders(x, *self.layout.shoulder_indices)
