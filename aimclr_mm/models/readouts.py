"""Readouts: how the last feature map of a backbone becomes one vector per sequence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimclr_mm.skeletons import Layout
from aimclr_mm.skeletons.parts import body_parts
from aimclr_mm.utils.arguments import check_choice

from .encoder import pool

MAP_READOUTS = ('mean', 'mean_std', 'segments', 'parts', 'cells')
READOUTS = (*MAP_READOUTS, 'segments_input')
SEGMENTS = 3  # of equal length
INPUT_SEGMENTS = 8


def read_out(feature_map: Tensor, readout: str = 'mean', layout: Layout | None = None) -> Tensor:
    """Return the representations h of feature maps, averaged over people.

    ========  ====  ==============================================================================
    readout   D
    ========  ====  ==============================================================================
    mean      C     mean over frames and joints: the paper's, see :func:`~.encoder.pool`
    mean_std  2 C   mean over frames and joints; standard deviation over frames of the mean over
                    joints
    segments  3 C   mean over joints and over the frames of each third of the time
    parts     5 C   mean over frames and over the joints of each body part
    cells     15 C  mean over each body part and each third of the time
    ========  ====  ==============================================================================

    A frame on the border of two thirds counts for both by its shares, so that the mean of the three
    segments is the readout ``mean``, also for one frame.

    Args:
        feature_map: (N, M, C, T, V). An absent second person counts as a person.
        readout: one of :data:`MAP_READOUTS`.
        layout: joint layout of the V joints, which ``parts`` and ``cells`` need.

    Returns:
        (N, D) of the type of the feature map; sums are taken in float32 or better.

    Raises:
        ValueError: for an unknown readout, or a layout without arms and legs.
    """
    check_choice('readout', readout, MAP_READOUTS)
    if readout == 'mean':
        return pool(feature_map)

    x = feature_map.to(torch.promote_types(feature_map.dtype, torch.float32))
    if readout == 'mean_std':
        frames = x.mean(dim=4)  # (N, M, C, T)
        h = torch.cat([frames.mean(dim=3), frames.std(dim=3, unbiased=False)], dim=2).mean(dim=1)
        return h.to(feature_map.dtype)

    # products by element: matrix products would lose digits under autocast
    x = x.mean(dim=1)  # (N, C, T, V)
    segments = segment_means(x, 2, 1 if readout == 'parts' else SEGMENTS)  # S of (N, C, V)
    places = joint_weights(x.shape[3], layout, readout).to(x)  # (P, V)
    cells = [(segment * weights).sum(dim=2) for weights in places for segment in segments]
    return torch.cat(cells, dim=1).to(feature_map.dtype)


def segment_means(x: Tensor, dim: int, segments: int) -> list[Tensor]:
    """Return the means over segments of equal length of the frames along a dimension."""
    shape = [-1 if axis == dim else 1 for axis in range(x.ndim)]
    weights = segment_weights(x.shape[dim], segments).to(x)  # (S, T)
    return [(x * weight.view(shape)).sum(dim=dim) for weight in weights]


def segment_weights(frames: int, segments: int) -> Tensor:
    """Return the weights (S, T) that average T frames over S segments of equal length."""
    borders = torch.arange(segments + 1, dtype=torch.float64) * frames / segments
    place = torch.arange(frames, dtype=torch.float64)
    start = torch.maximum(place, borders[:-1, None])  # (S, T)
    end = torch.minimum(place + 1, borders[1:, None])
    return (end - start).clamp(min=0) * segments / frames


def joint_weights(joints: int, layout: Layout | None, readout: str) -> Tensor:
    """Return the weights (P, V) that average V joints over body parts; for segments, over all."""
    if readout == 'segments':
        return torch.full((1, joints), 1 / joints, dtype=torch.float64)
    if layout is None or layout.num_joints != joints:
        found = 'no joint layout' if layout is None else f'the layout {layout.name!r}'
        raise ValueError(
            f'readout={readout!r} needs the joint layout of the feature map with {joints} joints; '
            f'the backbone has {found}'
        )

    parts = body_parts(layout)
    weights = torch.zeros(len(parts), joints, dtype=torch.float64)
    for row, indices in zip(weights, parts.values()):
        row[list(indices)] = 1 / len(indices)
    return weights


def input_path(x: Tensor, dims: int) -> Tensor:
    """Return the input of an encoder as one vector: the mean person in each eighth of the time.

    Args:
        x: (N, M, T, V, C) skeletons of a stream.
        dims: number of coordinates; channels beyond them, which are scores, are left out.

    Returns:
        (N, 8 V dims), of the type of x; sums are taken in float32 or better.
    """
    path = x[..., :dims].to(torch.promote_types(x.dtype, torch.float32)).mean(dim=1)
    return torch.stack(segment_means(path, 1, INPUT_SEGMENTS), dim=1).flatten(1).to(x.dtype)


def represent(backbone: nn.Module, x: Tensor, readout: str = 'mean') -> Tensor:
    """Return the representations h (N, D) of skeletons.

    The readout ``segments_input`` concatenates ``segments`` with the input itself, scaled to the
    same norm, so its cosine similarity is the mean of the encoder's and the input's.

    Args:
        backbone: network with feature maps (N, M, C, T, V).
        x: (N, M, T, V, C) skeletons of the stream.
        readout: one of :data:`READOUTS`, see :func:`read_out`.
    """
    layout = getattr(backbone, 'layout', None)
    if readout != 'segments_input':
        return read_out(backbone(x), readout, layout)
    h = read_out(backbone(x), 'segments', layout)
    path = input_path(x, layout.dims if layout else x.shape[-1])
    path = F.normalize(path.to(h.dtype), dim=1) * h.norm(dim=1, keepdim=True)
    return torch.cat([h, path], dim=1)
