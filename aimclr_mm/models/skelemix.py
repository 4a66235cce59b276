"""SkeleMix (Chen et al., arXiv 2022): parts of mixed clips match the clips that they come from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from aimclr_mm.skeletons import LayoutLike, get_layout
from aimclr_mm.skeletons.parts import body_parts
from aimclr_mm.transforms.functional import mix_clips

from .encoder import Encoder
from .losses import contrastive_logits, info_nce


@MODELS.register_module()
class SkeleMix(nn.Module):
    """An addition to every method with a memory bank: contrast both regions of mixed clips.

    Clip i gets some body parts, for some consecutive frames, of clip i + n of the batch. The
    feature map pooled inside of this region shall match the key of clip i + n, and outside of it
    the key of clip i. The other region is one more negative. Region and n are drawn for the whole
    batch. It has no parameters.

    Args:
        parts: fewest and most body parts that are replaced, of those of the layout.
        time: smallest and largest share of the frames that are replaced, in whole cells.
        stride: frames of the clip for each frame of the feature map, one time cell.
        repeats: number of mixings of each batch.
        weight: weight of the loss.
        layout: joint layout of the data.

    Raises:
        ValueError: if an argument is out of range or the layout lacks a body part.
    """

    def __init__(
        self,
        parts: Sequence[int] = (2, 3),
        time: Sequence[float] = (7 / 16, 11 / 16),
        stride: int = 4,
        repeats: int = 3,
        weight: float = 1.0,
        layout: LayoutLike = 'ntu25',
    ) -> None:
        super().__init__()
        layout = get_layout(layout)
        self.body = [list(joints) for joints in body_parts(layout).values()]
        if len(parts) != 2 or not 1 <= parts[0] <= parts[1]:
            raise ValueError(f'SkeleMix: parts={list(parts)}; give the fewest and the most parts')
        if parts[1] >= len(self.body):
            raise ValueError(
                f'SkeleMix: parts={list(parts)}; of the {len(self.body)} body parts one at least '
                'must stay'
            )
        if len(time) != 2 or not 0 < time[0] <= time[1] <= 1:
            raise ValueError(f'SkeleMix: time={list(time)}; give two rising shares in (0, 1]')
        if stride < 1 or repeats < 1:
            raise ValueError(
                f'SkeleMix: stride={stride}, repeats={repeats}; both must be at least 1'
            )

        self.draws_on_host = True  # so that a training step cannot be captured as a CUDA graph
        self.parts = tuple(parts)
        self.time = tuple(time)
        self.stride = stride
        self.repeats = repeats
        self.weight = weight
        self.num_joints = layout.num_joints

    def forward(
        self, encoder: Encoder, view: Tensor, key: Tensor, bank: Tensor, temperature: float
    ) -> Tensor:
        """Return the loss, the sum over all mixings.

        Args:
            encoder: the query encoder.
            view: (N, M, T, V, C) the query view.
            key: (N, D) keys of the same clips.
            bank: (K, D) memory bank.
            temperature: tau.
        """
        total = 0.0
        for _ in range(self.repeats):
            shift, mask = self.draw(len(view), view.shape[2], view.device)
            frames = mask.repeat_interleave(self.stride, dim=0)[: view.shape[2]]  # (T, V)
            feature_map = encoder.backbone(mix_clips(view, shift, frames))
            self.check_size(feature_map, mask, view.shape[2])
            inside = encoder.project(feature_map, mask)  # p (N, D)
            outside = encoder.project(feature_map, ~mask)  # c (N, D)
            mates = key.roll(-shift, dims=0)
            total = total + region_loss(inside, mates, outside, bank, temperature) / 2
            total = total + region_loss(outside, key, inside, bank, temperature) / 2
        return self.weight * total

    def check_size(self, feature_map: Tensor, mask: Tensor, frames: int) -> None:
        """Raise ValueError if a feature map (..., T', V) does not fit a mask (T', V)."""
        if feature_map.shape[-2:] != mask.shape:
            raise ValueError(
                f'SkeleMix: the feature map has {feature_map.shape[-2]} frames of {frames}, which '
                f'does not fit stride={self.stride}'
            )

    def draw(self, clips: int, frames: int, device: torch.device) -> tuple[int, Tensor]:
        """Draw the distance to the mate and the mask (cells, V) of what comes from it."""
        shift = draw_integer(1, max(clips - 1, 1))
        cells = -(-frames // self.stride)
        smallest, largest = (max(round(share * cells), 1) for share in self.time)
        count = draw_integer(smallest, largest)
        start = draw_integer(0, cells - count)

        chosen = torch.randperm(len(self.body))[: draw_integer(*self.parts)]
        mask = torch.zeros(cells, self.num_joints, dtype=torch.bool)
        for part in chosen.tolist():
            mask[start : start + count, self.body[part]] = True
        return shift, mask.to(device)


def draw_integer(low: int, high: int) -> int:
    """Draw an integer between two others, both included, from torch's global generator."""
    return int(torch.randint(low, high + 1, ()))


def region_loss(
    query: Tensor, key: Tensor, other: Tensor, bank: Tensor, temperature: float
) -> Tensor:
    """Return InfoNCE of a region (N, D), with the other region of the clip as one more negative.

    The other region gets no gradient here.
    """
    logits = contrastive_logits(query, key, bank, temperature)  # (N, 1 + K)
    negative = (query * other.detach()).sum(dim=1, keepdim=True) / temperature
    return info_nce(torch.cat([logits, negative.to(logits.dtype)], dim=1))
