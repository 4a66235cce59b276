"""The augmentations and the preprocessing as pure functions of a batch.

Every function takes skeletons ``x`` of shape (N, M, T, V, C) (samples, people, frames, joints, channels) and, where
it is random in the paper, the drawn parameters, one row a sample. Channels beyond the layout's coordinates (a
keypoint score) are carried along and never mixed with coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from aimclr_mm.skeletons import Layout


def _with_rest(coordinates: Tensor, x: Tensor) -> Tensor:
    """The new coordinates followed by those channels of x that are no coordinates."""
    dims = coordinates.shape[-1]
    return coordinates if dims == x.shape[-1] else torch.cat([coordinates, x[..., dims:]], dim=-1)


def distinct_people(people: Tensor) -> tuple[Tensor, Tensor]:
    """Which of (B, ...) people to compute: all that are there, and one for all that are absent (zero throughout).

    Returns:
        rows of the people to compute, and for each of the B people the place of its result among them.
    """
    values = people.flatten(1)
    absent = torch.maximum(values.amax(dim=1), -values.amin(dim=1)) == 0  # the fastest way on a CPU
    first = absent & (absent.cumsum(0) == 1)
    kept = ~absent | first
    place = kept.cumsum(0) - 1
    return kept.nonzero()[:, 0], torch.where(absent, place[first].sum(), place)


def linear_map(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiplies every joint by its sample's matrix: y = A x.

    Args:
        x: (N, M, T, V, C) skeletons.
        matrix: (N, d, d) with d <= C; coordinates are the first d channels.
    """
    n, m, t, v, channels = x.shape
    dims = matrix.shape[-1]
    if dims < channels:
        rest = torch.arange(channels, device=x.device) >= dims
        matrix = F.pad(matrix, (0, channels - dims, 0, channels - dims)) + torch.diag(
            rest.to(x.dtype)
        )
    planes = x.movedim(-1, 2).reshape(n * m, channels, t * v)
    matrix = matrix.repeat_interleave(m, dim=0) if m > 1 else matrix
    return torch.bmm(matrix, planes).view(n, m, channels, t, v).movedim(2, -1)


def shear_matrix(factors: Tensor) -> Tensor:
    """Shear matrices from (N, d, d) factors: ones on the diagonal, the factors elsewhere."""
    eye = torch.eye(factors.shape[-1], device=factors.device, dtype=factors.dtype)
    return torch.where(eye.bool(), eye, factors)


def rotation_matrix(degrees: Tensor) -> Tensor:
    """Rotation about x, then y, then z.

    The positive direction is clockwise when one looks along the axis towards the origin, as in the released code.

    Args:
        degrees: (N, 3) angles about x, y, z in degrees; or (N, 1) about z alone, for two coordinates.

    Returns:
        (N, 3, 3) or (N, 2, 2) matrices.
    """
    generators, squares, eye = _rotation_generators(
        degrees.shape[-1], degrees.dtype, degrees.device
    )
    radians = torch.deg2rad(degrees)[..., None, None]
    about = eye + radians.sin() * generators + (1 - radians.cos()) * squares  # Rodrigues' formula
    return reduce(lambda product, axis: axis @ product, about.unbind(1))


@lru_cache(maxsize=64)
def _rotation_generators(
    axes: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """(axes, d, d) infinitesimal clockwise rotations about x, y and z, or in the plane; their squares; ones (d, d)."""
    in_plane = [[[0, 1], [-1, 0]]]
    in_space = [
        [[0, 0, 0], [0, 0, 1], [0, -1, 0]],
        [[0, 0, -1], [0, 0, 0], [1, 0, 0]],
        [[0, 1, 0], [-1, 0, 0], [0, 0, 0]],
    ]
    generators = torch.tensor(in_plane if axes == 1 else in_space, dtype=dtype, device=device)
    return (
        generators,
        generators @ generators,
        torch.eye(generators.shape[-1], dtype=dtype, device=device),
    )


def crop_index(start: Tensor, frames: int, padding: int) -> Tensor:
    """Frames of a window in a clip with ``padding`` mirrored frames at both ends.

    The mirror repeats the first and the last frame, as in the released code.

    Args:
        start: (N,) first frame of the window, 0 <= start <= 2 * padding.
        frames: T, frames of clip and window.
        padding: mirrored frames on each side, padding <= T.

    Returns:
        (N, T) indices of frames of the clip.
    """
    return _windows(frames, padding, start.device).index_select(0, start)


@lru_cache(maxsize=64)
def _windows(frames: int, padding: int, device: torch.device) -> Tensor:
    """(2 * padding + 1, T) frames of every window."""
    first = torch.arange(-padding, padding + 1, device=device)
    index = first[:, None] + torch.arange(frames, device=device)  # may leave [0, T)
    index = torch.where(index < 0, -1 - index, index)
    return torch.where(index >= frames, 2 * frames - 1 - index, index)


@lru_cache(maxsize=64)
def _moves(joints: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Ranges of joints that move together: (first, source, number), without those that stay."""
    moves: list[tuple[int, int, int]] = []
    for joint, source in enumerate(joints):
        if joint == source:
            continue
        if moves and (joint, source) == (moves[-1][0] + moves[-1][2], moves[-1][1] + moves[-1][2]):
            moves[-1] = (*moves[-1][:2], moves[-1][2] + 1)
        else:
            moves.append((joint, source, 1))
    return moves


def select_joints(x: Tensor, joints: Sequence[int]) -> Tensor:
    """Reorders the joints: joint v of the result is joint ``joints[v]`` of x. Coordinates stay as they are.

    Copies ranges of joints, which a CPU does several times as fast as single ones.
    """
    result = x.clone()
    for first, source, number in _moves(tuple(joints)):
        result[..., first : first + number, :] = x[..., source : source + number, :]
    return result


def gaussian_kernel(sigma: Tensor, taps: int, normalized: bool) -> Tensor:
    """Gaussian windows.

    Args:
        sigma: (N,) standard deviation in frames.
        taps: odd length of the window.
        normalized: whether the taps add up to 1. The released code leaves them as they are: the tap in the middle
            is 1 and the gain grows with sigma.

    Returns:
        (N, taps).
    """
    offset = torch.arange(taps, device=sigma.device, dtype=sigma.dtype) - taps // 2
    kernel = torch.exp(-offset.square() / (2 * sigma[:, None].square()))
    return kernel / kernel.sum(dim=1, keepdim=True) if normalized else kernel


def temporal_blur(x: Tensor, kernel: Tensor, dims: int) -> Tensor:
    """Convolves the ``dims`` coordinates over time with each sample's kernel; frames outside the clip are zero.

    One matrix of frames by frames a sample: torch's convolution prepares itself anew for each number of samples.

    Args:
        x: (N, M, T, V, C) skeletons.
        kernel: (N, taps), taps odd.
        dims: number of coordinates.
    """
    taps = kernel.shape[1]
    band = F.pad(kernel.to(x.dtype), (0, 1)).index_select(1, _band(x.shape[2], taps, x.device))
    band = band.view(len(x), 1, 1, x.shape[2], x.shape[2])
    return _with_rest((band @ x[..., :dims].movedim(-1, 2)).movedim(2, -1), x)


@lru_cache(maxsize=64)
def _band(frames: int, taps: int, device: torch.device) -> Tensor:
    """(T * T,) tap of frame s in the blurred frame t; ``taps`` where s is too far away."""
    time = torch.arange(frames, device=device)
    tap = time - time[:, None] + taps // 2
    return torch.where((tap >= 0) & (tap < taps), tap, taps).flatten()


def pad_factors(factors: Tensor, channels: int) -> Tensor:
    """Factors (N, d) of the coordinates as factors (N, C) of all channels: those that are no coordinates stay."""
    return F.pad(factors, (0, channels - factors.shape[1]), value=1)


def mask_factors(axis: Tensor, dims: int) -> Tensor:
    """Factors (N, d) that set the coordinate ``axis`` (N,) of ``dims`` to zero."""
    return (torch.arange(dims, device=axis.device) != axis[:, None]).float()


def center(x: Tensor, joint: int, dims: int, frame: str = 'each') -> Tensor:
    """Makes a joint the origin, person by person.

    Args:
        x: (N, M, T, V, C) skeletons.
        joint: index of the joint.
        dims: number of coordinates.
        frame: ``each``: the joint's place in every frame (the paper's preprocessing; the path of the body is
            lost); ``first``: its place in the person's first frame that holds a skeleton, for every frame that
            holds one; empty frames stay zero.
    """
    coordinates = x[..., :dims]
    if frame == 'each':
        shift = coordinates[..., joint : joint + 1, :]
    else:
        present = coordinates.flatten(-2).ne(0).any(dim=-1)  # (N, M, T)
        first = present.float().argmax(dim=2)[
            ..., None, None, None
        ]  # first frame that is not empty
        shift = coordinates.gather(2, first.expand(*x.shape[:2], 1, x.shape[3], dims))[
            ..., joint : joint + 1, :
        ]
        shift = shift * present[..., None, None]
    return _with_rest(coordinates - shift, x)


def align_shoulders(x: Tensor, left: int, right: int) -> Tensor:
    """Turns each person in each frame about y until the line from the left to the right shoulder is parallel to x.

    As in the preprocessing of CrosSCLR: the angle is arccos of the line's x part (its length + 1e-4 as divisor), and
    its sign is decided once for each clip and person, by the sign of the summed z part.

    Args:
        x: (N, M, T, V, C) skeletons with C >= 3.
        left, right: indices of the shoulders.
    """
    line = x[..., right, :3] - x[..., left, :3]  # (N, M, T, 3)
    length = torch.hypot(line[..., 0], line[..., 2])
    cos = (line[..., 0] / (length + 1e-4)).clamp(-1, 1)
    backwards = line[..., 2].sum(dim=2, keepdim=True) >= 0  # (N, M, 1)
    sin = torch.where(backwards, -1.0, 1.0) * (1 - cos.square()).sqrt()
    (px, py, pz), (cos, sin) = x[..., :3].unbind(-1), (cos[..., None], sin[..., None])
    return _with_rest(torch.stack([cos * px - sin * pz, py, sin * px + cos * pz], dim=-1), x)


def resize_frames(x: Tensor, length: int, frames: Tensor | None = None, start: int = 0) -> Tensor:
    """Resizes clips to ``length`` frames by linear interpolation between frame centres.

    As torch's ``interpolate(mode='linear', align_corners=False)``, with a number of frames for each sample: frame i of
    the result stands at (i + 0.5) frames / length - 0.5, held at both ends.

    Args:
        x: (N, M, T, V, C) skeletons.
        length: frames of the result.
        frames: (N,) whole numbers, frames to take of each sample, at least 1; all from ``start`` on if not given.
        start: the first frame to take.
    """
    n, m, t, v, c = x.shape
    if frames is None:
        frames = torch.full((n,), t - start, device=x.device)
    last = frames[:, None] - 1
    centers = torch.arange(length, device=x.device, dtype=x.dtype) + 0.5
    position = (centers * (frames.to(x.dtype) / length)[:, None] - 0.5).clamp(min=0)  # (N, length)
    low = torch.minimum(position.long(), last)
    clip = torch.arange(n * m, device=x.device).view(n, m, 1) * t + start
    rows = x.reshape(n * m * t, v * c)
    below, above = (
        rows.index_select(0, (clip + index[:, None]).flatten()).view(n, m, length, v, c)
        for index in (low, torch.minimum(low + 1, last))
    )
    return torch.lerp(below, above, (position - low)[:, None, :, None, None])


def select_stream(x: Tensor, stream: str, layout: Layout) -> Tensor:
    """Joint, bone or motion stream of (already augmented) joint coordinates.

    Args:
        x: (N, M, T, V, C) joint coordinates.
        stream: ``joint``: x itself; ``bone``: every joint minus its parent; ``motion``: the next frame minus this
            one, zero in the last frame.
        layout: the skeleton, for bone parents and the number of coordinates.

    Raises:
        ValueError: for another stream.
    """
    coordinates = x[..., : layout.dims]
    if stream == 'joint':
        return x
    if stream == 'bone':
        result = coordinates - select_joints(coordinates, layout.bones)
    elif stream == 'motion':
        result = F.pad(coordinates[:, :, 1:] - coordinates[:, :, :-1], (0, 0, 0, 0, 0, 1))
    else:
        raise ValueError(f'unknown stream {stream!r}; known are joint, bone and motion')
    return _with_rest(result, x)
