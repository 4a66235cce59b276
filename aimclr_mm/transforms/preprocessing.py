"""The preprocessing of the paper ("we follow SkeletonCLR and CrosSCLR"), one transform per step.

The order is :class:`CenterSkeleton`, :class:`ResizeClip`, :class:`AlignShoulders`, then mmaction2's
``FormatGCNInput``, which keeps the first two bodies.
"""

from __future__ import annotations

import torch
from mmaction.registry import TRANSFORMS
from torch import Tensor

from aimclr_mm.skeletons import LayoutLike, get_layout, map_layout
from aimclr_mm.utils.arguments import check_choice

from . import functional as F
from .base import SkeletonTransform


@TRANSFORMS.register_module()
class MapLayout(SkeletonTransform):
    """Map skeletons to another joint layout, the first step of the preprocessing.

    Args:
        target: joint layout of the result, see :func:`aimclr_mm.skeletons.map_layout`. Transforms
            that follow need ``layout=target``.
        layout: joint layout of the data.
    """

    def __init__(self, target: LayoutLike, layout: LayoutLike = 'ntu25') -> None:
        super().__init__(layout=layout)
        self.target = get_layout(target)

    def apply(self, x: Tensor) -> Tensor:
        """Map skeletons (N, M, T, V, C)."""
        return map_layout(x, self.layout, self.target)


@TRANSFORMS.register_module()
class CenterSkeleton(SkeletonTransform):
    """Make the layout's center joint the origin, for each person.

    Args:
        frame: ``each`` (the paper's preprocessing) centers every frame separately; ``first`` moves
            the whole clip by the position in the person's first frame, which keeps the trajectory.
        layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, frame: str = 'each', layout: LayoutLike = 'ntu25') -> None:
        super().__init__(layout=layout)
        check_choice('CenterSkeleton: frame', frame, ('each', 'first'))
        self.frame = frame

    def apply(self, x: Tensor) -> Tensor:
        """Center skeletons (N, M, T, V, C)."""
        return F.center(x, self.layout.center_index, self.layout.dims, self.frame)


@TRANSFORMS.register_module()
class ResizeClip(SkeletonTransform):
    """Resize the clip to a fixed number of frames by linear interpolation.

    As in the released preprocessing, the length of a clip is the number of frames that hold the
    first body, counted from the beginning; a clip without the first body counts as a whole.

    Args:
        length: frames of the result.
        max_frames: longer clips are cut to this length first. None: the whole clip, from the first
            to the last frame that holds a body, as own data use it.
        surplus: where a longer clip is cut: at the ``end``, or at ``both`` ends so that the middle
            remains, as in the released preprocessing of PKU-MMD.
        layout: see :class:`SkeletonTransform`.
    """

    def __init__(
        self,
        length: int = 50,
        max_frames: int | None = 300,
        surplus: str = 'end',
        layout: LayoutLike = 'ntu25',
    ) -> None:
        super().__init__(layout=layout)
        if length < 1 or (max_frames is not None and max_frames < 1):
            raise ValueError(
                f'ResizeClip: length={length}, max_frames={max_frames}; both must be at least 1'
            )
        check_choice('ResizeClip: surplus', surplus, ('end', 'both'))
        self.length = length
        self.max_frames = max_frames
        self.surplus = surplus

    def apply(self, x: Tensor) -> Tensor:
        """Resize skeletons (N, M, T, V, C), each sample from its own number of frames."""
        total = x.shape[2]
        if total == 0:
            raise ValueError('ResizeClip: the clip has no frames')
        if self.max_frames is None:
            return F.resize_frames(x, self.length, *F.held_frames(x, self.layout.dims))

        taken = torch.sym_min(total, self.max_frames)  # min() would fix T in an exported graph
        start = (total - taken) // 2 if self.surplus == 'both' else 0
        place = torch.arange(total, device=x.device)
        inside = (place >= start) & (place < start + taken)

        held = x[:, 0, :, :, : self.layout.dims].flatten(2).ne(0).any(dim=2)  # (N, T)
        frames = (held & inside).sum(dim=1)
        frames = torch.where(frames == 0, taken, frames)
        return F.resize_frames(x, self.length, frames, start)


@TRANSFORMS.register_module()
class AlignShoulders(SkeletonTransform):
    """Turn each person about the vertical until the shoulder line is parallel to x.

    Args:
        layout: see :class:`SkeletonTransform`; it must have three coordinates.
    """

    def __init__(self, layout: LayoutLike = 'ntu25') -> None:
        super().__init__(layout=layout)
        if self.layout.dims != 3:
            raise ValueError(
                f'AlignShoulders needs three coordinates; layout {self.layout.name!r} has '
                f'{self.layout.dims}. Leave this transform out'
            )
        self.shoulders = self.layout.shoulder_indices  # refused here, not at the first sample

    def apply(self, x: Tensor) -> Tensor:
        """Turn skeletons (N, M, T, V, C)."""
        return F.align_shoulders(x, *self.shoulders)


@TRANSFORMS.register_module()
class NormalizePose(SkeletonTransform):
    """Put the middle of the hips at the origin of each frame and make the trunk 1 long.

    For 2-D poses whose place and size in the picture shall not matter; ``PreNormalize2D`` keeps
    both. It is not part of the paper.

    Args:
        scores: whether poses without scores get scores of 1, for an encoder that takes scores.
        layout: see :class:`SkeletonTransform`; it must have shoulders and hips.
    """

    def __init__(self, scores: bool = False, layout: LayoutLike = 'coco17') -> None:
        super().__init__(layout=layout)
        self.scores = scores
        joints = [f'{side}_{part}' for part in ('shoulder', 'hip') for side in ('left', 'right')]
        missing = [joint for joint in joints if joint not in self.layout.joints]
        if missing:
            raise ValueError(
                f'NormalizePose needs {", ".join(joints)}, but layout {self.layout.name!r} has no '
                f'{missing[0]}. Use CenterSkeleton, or PreNormalize2D for poses in pixels'
            )
        indices = [self.layout.index(joint) for joint in joints]
        self.shoulders, self.hips = tuple(indices[:2]), tuple(indices[2:])

    def apply(self, x: Tensor) -> Tensor:
        """Normalize skeletons (N, M, T, V, C)."""
        if self.scores and x.shape[-1] == self.layout.dims:
            x = torch.cat([x, x.any(dim=-1, keepdim=True).to(x.dtype)], dim=-1)  # 0 if absent
        return F.normalize_pose(x, self.shoulders, self.hips, self.layout.dims)


# transforms that have already been applied to the sequences of a preprocessed annotation file
PREPROCESSING = (CenterSkeleton, ResizeClip, AlignShoulders)
