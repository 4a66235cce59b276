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
READOUTS = (*MAP_READOUTS, 'equal_motion')
SEGMENTS = 3
INPUT_SEGMENTS = 8
PLAIN_TIME = 0.25  # share of the motion clock that runs while nobody moves, too
LARGEST_STEP = 3  # times the mean step of the clip; larger ones are faults of the sensor
MEAN_POSE = 0.4  # weight of the mean pose of the clip, which tells people and cameras apart
SECOND_PERSON = 0.7  # last entry for two people, 0 for one; the halves before it have unit length


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
    count = 1 if readout == 'parts' else SEGMENTS
    segments = segment_means(x, segment_weights(even_borders(x), count))  # S of (N, C, V)
    places = joint_weights(x.shape[3], layout, readout).to(x)  # (P, V)
    cells = [(segment * weights).sum(dim=2) for weights in places for segment in segments]
    return torch.cat(cells, dim=1).to(feature_map.dtype)


def segment_means(x: Tensor, weights: Tensor) -> list[Tensor]:
    """Return the weighted means over time of features (N, C, T, ...): S of (N, C, ...).

    Args:
        x: the features.
        weights: (S, T), or (N, S, T) for each sample.
    """
    weights = weights.to(x).view(-1, *weights.shape[-2:])  # (1 or N, S, T)
    rest = (None,) * (x.ndim - 3)
    return [(x * weight[:, None, :, *rest]).sum(dim=2) for weight in weights.unbind(dim=1)]


def even_borders(x: Tensor) -> Tensor:
    """Return the borders (T + 1,) of the frames of features (N, C, T, ...), from 0 to 1."""
    return torch.linspace(0, 1, x.shape[2] + 1, dtype=torch.float64)


def segment_weights(borders: Tensor, segments: int) -> Tensor:
    """Return the weights (..., S, T) that average T frames over S segments of equal length.

    Args:
        borders: (..., T + 1) ascending times of the borders between frames, from 0 to 1.
        segments: S.
    """
    edges = torch.linspace(0, 1, segments + 1, dtype=borders.dtype, device=borders.device)
    borders = borders[..., None, :]  # (..., 1, T + 1)
    start = torch.maximum(borders[..., :-1], edges[:-1, None])  # (..., S, T)
    end = torch.minimum(borders[..., 1:], edges[1:, None])
    return (end - start).clamp(min=0) * segments


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


def motion_clock(x: Tensor, stream: str = 'joint') -> Tensor:
    """Return which share of the motion of each clip is over at the borders between its frames.

    The step from one frame to the next is the mean distance that the joints of all people move.
    Steps are averaged over the quarter of the clip around each frame, so that the clock follows
    phases of a movement and not each swing of an arm. A quarter of the clock is plain time, so that
    a long rest counts too, and all of it in a clip without motion.

    Args:
        x: (N, M, T, V, dims) coordinates of a stream.
        stream: the stream; frames of ``motion`` are steps to the next frame.

    Returns:
        (N, T + 1), ascending from 0 to 1.
    """
    frames = x.shape[2]
    steps = x[:, :, :-1] if stream == 'motion' else x.diff(dim=2)
    steps = steps.norm(dim=-1).mean(dim=(1, 3))  # (N, T - 1)
    steps = torch.minimum(steps, LARGEST_STEP * steps.sum(dim=1, keepdim=True) / max(frames - 1, 1))

    motion = F.pad(steps, (1, 0)) + F.pad(steps, (0, 1))  # (N, T), half of each step in each frame
    around = frames // 8
    motion = F.avg_pool1d(
        motion[:, None], 2 * around + 1, stride=1, padding=around, count_include_pad=False
    )[:, 0]
    share = motion / motion.sum(dim=1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    clock = ((1 - PLAIN_TIME) * share + PLAIN_TIME / frames).cumsum(dim=1)
    return F.pad(clock / clock[:, -1:], (1, 0))


def equal_motion(feature_map: Tensor, x: Tensor, stream: str = 'joint') -> Tensor:
    """Return feature map and input, averaged over segments that hold equal shares of the motion.

    Slow and fast performances of one movement are divided at the same points of the movement, which
    is what dynamic time warping does for pairs of clips. The mean of the eight input poses counts
    less than the deviations from it. Both halves have unit length, so the cosine similarity of two
    clips of one person is the mean of the encoder's and the input's.

    Args:
        feature_map: (N, M, C, T', V).
        x: (N, M, T, V, dims) input coordinates. A person who is zero in all frames does not count.
        stream: the stream of the input.

    Returns:
        (N, 3 C + 8 V dims + 1) of the type of the feature map: the means of the feature map over
        joints and thirds of the motion, those of the input over eighths, and one number that is
        zero for one person. Sums are taken in float32 or better.
    """
    dtype = torch.promote_types(feature_map.dtype, torch.float32)
    x = x.to(dtype)
    present = x.flatten(2).ne(0).any(dim=2)  # (N, M)
    people = present.sum(dim=1, keepdim=True)
    counted = present | (people == 0)  # all, where there is nobody
    weights = counted.to(dtype) / counted.sum(dim=1, keepdim=True)
    features = (feature_map.to(dtype).mean(dim=4) * weights[:, :, None, None]).sum(dim=1)
    path = (x * weights[:, :, None, None, None]).sum(dim=1).transpose(1, 2)  # (N, V, T, dims)

    clock = motion_clock(x, stream)  # (N, T + 1)
    coarse = F.interpolate(
        clock[:, None], features.shape[2] + 1, mode='linear', align_corners=True
    )[:, 0]  # at the borders of the T' frames of the feature map
    h = torch.cat(segment_means(features, segment_weights(coarse, SEGMENTS)), dim=1)
    path = torch.stack(segment_means(path, segment_weights(clock, INPUT_SEGMENTS)), dim=1)

    if stream != 'motion':  # whose mean is a displacement
        path = path - (1 - MEAN_POSE) * path.mean(dim=1, keepdim=True)
    number = SECOND_PERSON * (people > 1)
    parts = [F.normalize(h, dim=1), F.normalize(path.flatten(1), dim=1), number]
    return torch.cat(parts, dim=1).to(feature_map.dtype)


def represent(
    backbone: nn.Module, x: Tensor, readout: str = 'mean', stream: str = 'joint'
) -> Tensor:
    """Return the representations h (N, D) of skeletons.

    Args:
        backbone: network with feature maps (N, M, C, T, V).
        x: (N, M, T, V, C) skeletons of the stream.
        readout: one of :data:`READOUTS`, see :func:`read_out` and :func:`equal_motion`.
        stream: the stream, which ``equal_motion`` needs to know.
    """
    layout = getattr(backbone, 'layout', None)
    if readout != 'equal_motion':
        return read_out(backbone(x), readout, layout)
    coordinates = x[..., : layout.dims] if layout else x
    return equal_motion(backbone(x), coordinates, stream)
