"""The augmentations and the preprocessing as pure functions of a batch.

Every function takes skeletons ``x`` of shape (N, M, T, V, C) (samples, people, frames, joints, channels) and, where
it is random in the paper, the drawn parameters, one row a sample. Channels beyond the layout's coordinates (a
keypoint score) are carried along and never mixed with coordinates.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from aimclr_mm.skeletons import Layout


def _with_rest(coordinates: Tensor, x: Tensor) -> Tensor:
    """The new coordinates followed by those channels of x that are no coordinates."""
    dims = coordinates.shape[-1]
    return coordinates if dims == x.shape[-1] else torch.cat([coordinates, x[..., dims:]], dim=-1)


@lru_cache(maxsize=64)
def _index(joints: tuple[int, ...], device: torch.device) -> Tensor:
    """The joints as a tensor, kept on the device: a copy from the host in every step would stall a GPU."""
    return torch.tensor(joints, device=device)


def linear_map(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiplies every joint by its sample's matrix: y = A x.

    Args:
        x: (N, M, T, V, C) skeletons.
        matrix: (N, d, d) with d <= C; coordinates are the first d channels.
    """
    dims = matrix.shape[-1]
    return _with_rest(torch.einsum('nij,nmtvj->nmtvi', matrix, x[..., :dims]), x)


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
    radians = torch.deg2rad(degrees)
    sin, cos = radians.sin(), radians.cos()
    if degrees.shape[-1] == 1:
        return torch.stack([cos, sin, -sin, cos], dim=-1).view(-1, 2, 2)
    zero, one = torch.zeros_like(cos[:, 0]), torch.ones_like(cos[:, 0])
    (sx, sy, sz), (cx, cy, cz) = sin.unbind(-1), cos.unbind(-1)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, dim=-1).view(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, cx, sx, zero, -sx, cx)
    about_y = matrix(cy, zero, -sy, zero, one, zero, sy, zero, cy)
    about_z = matrix(cz, sz, zero, -sz, cz, zero, zero, zero, one)
    return about_z @ about_y @ about_x


def temporal_crop(x: Tensor, start: Tensor, padding: int) -> Tensor:
    """Mirrors ``padding`` frames at both ends and takes T frames from ``start``.

    The mirror repeats the first and the last frame, as in the released code.

    Args:
        x: (N, M, T, V, C) skeletons.
        start: (N,) first frame of the window, 0 <= start <= 2 * padding.
        padding: mirrored frames on each side, padding <= T.
    """
    frames = x.shape[2]
    index = torch.arange(frames, device=x.device) + start[:, None] - padding        # (N, T), may leave [0, T)
    index = torch.where(index < 0, -1 - index, index)
    index = torch.where(index >= frames, 2 * frames - 1 - index, index)
    return x.gather(2, index[:, None, :, None, None].expand(x.shape))


def select_joints(x: Tensor, joints: Sequence[int]) -> Tensor:
    """Reorders the joints: joint v of the result is joint ``joints[v]`` of x. Coordinates stay as they are."""
    return x.index_select(3, _index(tuple(joints), x.device))


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

    Args:
        x: (N, M, T, V, C) skeletons.
        kernel: (N, taps), taps odd.
        dims: number of coordinates.
    """
    n, m, t, v, _ = x.shape
    rows = x[..., :dims].permute(0, 1, 3, 4, 2).reshape(1, n, m * v * dims, t)
    blurred = F.conv2d(rows, kernel.to(x.dtype)[:, None, None, :], padding=(0, kernel.shape[1] // 2), groups=n)
    return _with_rest(blurred.view(n, m, v, dims, t).permute(0, 1, 4, 2, 3), x)


def mask_axis(x: Tensor, axis: Tensor) -> Tensor:
    """Sets one coordinate of each sample to zero.

    Args:
        x: (N, M, T, V, C) skeletons.
        axis: (N,) the coordinate.
    """
    keep = torch.arange(x.shape[-1], device=x.device) != axis[:, None]
    return x * keep[:, None, None, None, :]


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
        shift = coordinates[..., joint:joint + 1, :]
    else:
        present = coordinates.flatten(-2).ne(0).any(dim=-1)                          # (N, M, T)
        first = present.float().argmax(dim=2)[..., None, None, None]                 # first frame that is not empty
        shift = coordinates.gather(2, first.expand(*x.shape[:2], 1, x.shape[3], dims))[..., joint:joint + 1, :]
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
    line = x[..., right, :3] - x[..., left, :3]                                      # (N, M, T, 3)
    length = torch.hypot(line[..., 0], line[..., 2])
    cos = (line[..., 0] / (length + 1e-4)).clamp(-1, 1)
    backwards = line[..., 2].sum(dim=2, keepdim=True) >= 0                           # (N, M, 1)
    sin = torch.where(backwards, -1.0, 1.0) * (1 - cos.square()).sqrt()
    (px, py, pz), (cos, sin) = x[..., :3].unbind(-1), (cos[..., None], sin[..., None])
    return _with_rest(torch.stack([cos * px - sin * pz, py, sin * px + cos * pz], dim=-1), x)


def resize_frames(x: Tensor, length: int) -> Tensor:
    """Resizes the clip to ``length`` frames by linear interpolation between frame centres."""
    n, m, t, v, c = x.shape
    if t == length:
        return x
    rows = x.permute(0, 1, 3, 4, 2).reshape(n, m * v * c, t)
    resized = F.interpolate(rows, size=length, mode='linear', align_corners=False)
    return resized.view(n, m, v, c, length).permute(0, 1, 4, 2, 3)


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
    coordinates = x[..., :layout.dims]
    if stream == 'joint':
        return x
    if stream == 'bone':
        result = coordinates - select_joints(coordinates, layout.bones)
    elif stream == 'motion':
        result = F.pad(coordinates[:, :, 1:] - coordinates[:, :, :-1], (0, 0, 0, 0, 0, 1))
    else:
        raise ValueError(f'unknown stream {stream!r}; known are joint, bone and motion')
    return _with_rest(result, x)
