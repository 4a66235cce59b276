"""The augmentations, the preprocessing and the streams as pure functions of a batch.

Skeletons ``x`` are (N, M, T, V, C): samples, people, frames, joints, channels. A function that is
random in the paper takes its drawn parameters as arguments, one row for each sample. Channels
beyond the d coordinates of the layout (a keypoint score) are passed through unchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.arguments import check_choice


def _append_rest(coordinates: Tensor, x: Tensor) -> Tensor:
    """Return the new coordinates followed by the channels of x that are not coordinates."""
    dims = coordinates.shape[-1]
    if dims == x.shape[-1]:
        return coordinates
    return torch.cat([coordinates, x[..., dims:]], dim=-1)


def linear_map(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the coordinates of every joint by the matrix of its sample: y = A x.

    Args:
        x: (N, M, T, V, C) skeletons.
        matrix: (N, d, d) with d <= C; coordinates are the first d channels.
    """
    dims = matrix.shape[-1]
    points = x[..., :dims].flatten(1, 3)  # (N, M T V, d)
    # points @ matrix.mT is the same, but several times slower on a CPU for so few columns
    mapped = (matrix @ points.mT).mT.contiguous()
    return _append_rest(mapped.unflatten(1, x.shape[1:4]), x)


def shear_matrix(factors: Tensor) -> Tensor:
    """Return shear matrices (N, d, d): ones on the diagonal, the factors (N, d, d) elsewhere."""
    eye = torch.eye(factors.shape[-1], device=factors.device, dtype=factors.dtype)
    return torch.where(eye.bool(), eye, factors)


def rotation_matrix(degrees: Tensor) -> Tensor:
    """Return the matrix of a rotation about x, then y, then z.

    The positive direction is clockwise as seen along the axis towards the origin, as in the
    released code.

    Args:
        degrees: (N, 3) angles about x, y, z in degrees; or (N, 1) about z alone, for two
            coordinates.

    Returns:
        (N, 3, 3) or (N, 2, 2).
    """
    radians = torch.deg2rad(degrees)
    cos = radians.cos()
    sin = radians.sin()
    if degrees.shape[1] == 1:
        return _plane_rotation(cos[:, 0], sin[:, 0], dims=2, plane=(0, 1))

    about_x = _plane_rotation(cos[:, 0], sin[:, 0], dims=3, plane=(1, 2))
    about_y = _plane_rotation(cos[:, 1], sin[:, 1], dims=3, plane=(2, 0))
    about_z = _plane_rotation(cos[:, 2], sin[:, 2], dims=3, plane=(0, 1))
    return about_z @ about_y @ about_x


def _plane_rotation(cos: Tensor, sin: Tensor, dims: int, plane: tuple[int, int]) -> Tensor:
    """Return rotations (N, d, d) by angles of given cosine and sine (N,) in a coordinate plane."""
    a, b = plane
    matrix = torch.eye(dims, device=cos.device, dtype=cos.dtype).repeat(len(cos), 1, 1)
    matrix[:, a, a] = cos
    matrix[:, b, b] = cos
    matrix[:, a, b] = sin
    matrix[:, b, a] = -sin
    return matrix


def crop_index(start: Tensor, frames: int, padding: int) -> Tensor:
    """Return the frames of a window in a clip with mirrored frames at both ends.

    The mirror repeats the first and the last frame, as in the released code.

    Args:
        start: (N,) first frame of the window, 0 <= start <= 2 * padding.
        frames: T, frames of the clip and of the window.
        padding: mirrored frames on each side, padding <= T.

    Returns:
        (N, T) indices of frames of the clip.
    """
    index = start[:, None] - padding + torch.arange(frames, device=start.device)
    index = torch.where(index < 0, -1 - index, index)
    return torch.where(index >= frames, 2 * frames - 1 - index, index)


def take_frames(x: Tensor, index: Tensor) -> Tensor:
    """Take frames ``index`` (N, L) of each sample of x (N, M, T, V, C); returns (N, M, L, V, C)."""
    # not len(x), which would fix N in an exported graph
    sample = torch.arange(x.shape[0], device=x.device)[:, None, None]
    person = torch.arange(x.shape[1], device=x.device)[:, None]
    return x[sample, person, index[:, None, :]]


def calm_frames(x: Tensor, count: int) -> Tensor:
    """Return the frames (N, count) with the least motion, in order of time.

    Motion is the mean squared difference to the next frame; the last frame has none.

    Args:
        x: (N, M, T, V, C) skeletons.
        count: number of frames, at most T.
    """
    motion = F.pad(x.diff(dim=2), (0, 0, 0, 0, 0, 1)).square().mean(dim=(1, 3, 4))  # (N, T)
    return motion.topk(count, dim=1, largest=False).indices.sort(dim=1).values


def select_joints(x: Tensor, joints: Sequence[int]) -> Tensor:
    """Reorder the joints: joint v of the result is joint ``joints[v]`` of x (..., V, C)."""
    return x.index_select(-2, _index(tuple(joints), x.device))


@functools.cache
def _index(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Return an index on a device; it is copied there once, which CUDA graphs need."""
    return torch.tensor(values, device=device)


def random_joints(frames: int, joints: int, count: int, device: torch.device) -> Tensor:
    """Draw ``count`` different joints for each frame; return a mask (T, V), true for these."""
    drawn = torch.rand(frames, joints, device=device).topk(count, dim=1).indices  # (T, count)
    return torch.zeros(frames, joints, dtype=torch.bool, device=device).scatter(1, drawn, True)


def transfer_bone_lengths(x: Tensor, lengths: Tensor, parents: Sequence[int], dims: int) -> Tensor:
    """Give every bone, in every frame, another length; its direction and the root stay.

    Args:
        x: (N, M, T, V, C) skeletons.
        lengths: (N, M, T, V) lengths of the bones; those of bones without a length are not used.
        parents: parent of each joint; a root is its own parent.
        dims: d, the number of coordinates.
    """
    coordinates = x[..., :dims]
    bones = coordinates - select_joints(coordinates, parents)
    norm = bones.norm(dim=-1)
    bones = bones * torch.where((norm > 0) & (lengths > 0), lengths / norm, 1)[..., None]

    placed = list(coordinates.unbind(dim=3))
    done = {joint for joint, parent in enumerate(parents) if joint == parent}
    while len(done) < len(parents):
        for joint in set(range(len(parents))) - done:
            if parents[joint] in done:
                placed[joint] = placed[parents[joint]] + bones[..., joint, :]
                done.add(joint)
    return _append_rest(torch.stack(placed, dim=3), x)


def mix_clips(x: Tensor, shift: int, mask: Tensor) -> Tensor:
    """Replace a part of each clip by the same part of another clip of the batch.

    Args:
        x: (N, M, T, V, C) skeletons.
        shift: clip i gets the part of clip (i + shift) mod N.
        mask: (T, V) boolean, the frames and joints that are replaced.
    """
    return torch.where(mask[..., None], x.roll(-shift, dims=0), x)


def gaussian_kernel(sigma: Tensor, taps: int, normalized: bool) -> Tensor:
    """Return Gaussian kernels (N, taps).

    Args:
        sigma: (N,) standard deviation in frames.
        taps: odd length of the kernel.
        normalized: whether the taps add up to 1. Those of the released code do not: the middle tap
            is 1 and the gain grows with sigma.
    """
    offset = torch.arange(taps, device=sigma.device, dtype=sigma.dtype) - taps // 2
    kernel = torch.exp(-offset.square() / (2 * sigma[:, None].square()))
    return kernel / kernel.sum(dim=1, keepdim=True) if normalized else kernel


def temporal_blur(x: Tensor, kernel: Tensor, dims: int) -> Tensor:
    """Convolve the coordinates over time with each sample's kernel; the clip is padded with zeros.

    Args:
        x: (N, M, T, V, C) skeletons.
        kernel: (N, taps), taps odd.
        dims: d, the number of coordinates.
    """
    n, m, t, v, _ = x.shape
    coordinates = x[..., :dims]

    # a depthwise convolution: each person of each sample is a channel with its own kernel
    clips = coordinates.reshape(1, n * m, t, v * dims)
    weight = kernel.repeat_interleave(m, dim=0)[:, None, :, None]  # (N M, 1, taps, 1)
    blurred = F.conv2d(clips, weight, padding=(kernel.shape[1] // 2, 0), groups=n * m)
    return _append_rest(blurred.view(coordinates.shape), x)


def center(x: Tensor, joint: int, dims: int, frame: str = 'each') -> Tensor:
    """Make a joint the origin, for each person.

    Args:
        x: (N, M, T, V, C) skeletons.
        joint: index of the joint.
        dims: d, the number of coordinates.
        frame: ``each`` subtracts the joint's position in every frame (the paper's preprocessing;
            the trajectory is lost). ``first`` subtracts its position in the person's first frame
            that holds a skeleton from every frame that holds one; empty frames stay zero.
    """
    coordinates = x[..., :dims]
    origin = coordinates[..., joint : joint + 1, :]  # (N, M, T, 1, d)
    if frame == 'each':
        return _append_rest(coordinates - origin, x)

    present = coordinates.flatten(-2).ne(0).any(dim=-1)  # (N, M, T)
    first = present.float().argmax(dim=2)  # the first frame that is not empty
    origin = torch.take_along_dim(origin, first[..., None, None, None], dim=2)
    return _append_rest(coordinates - origin * present[..., None, None], x)


def align_shoulders(x: Tensor, left: int, right: int) -> Tensor:
    """Turn each person in each frame about y until the shoulder line is parallel to x.

    As in the preprocessing of CrosSCLR: the angle is arccos of the x part of the line from the left
    to the right shoulder (divided by its length + 1e-4), and its sign is decided once for each clip
    and person, by the sign of the summed z part.

    Args:
        x: (N, M, T, V, C) skeletons with C >= 3.
        left, right: indices of the shoulders.
    """
    line = x[..., right, :3] - x[..., left, :3]  # (N, M, T, 3)
    length = torch.hypot(line[..., 0], line[..., 2])
    cos = (line[..., 0] / (length + 1e-4)).clamp(-1, 1)
    backwards = line[..., 2].sum(dim=2, keepdim=True) >= 0  # (N, M, 1)
    sin = torch.where(backwards, -1.0, 1.0) * (1 - cos.square()).sqrt()

    px, py, pz = x[..., :3].unbind(-1)
    cos = cos[..., None]  # (N, M, T, 1)
    sin = sin[..., None]
    turned = torch.stack([cos * px - sin * pz, py, sin * px + cos * pz], dim=-1)
    return _append_rest(turned, x)


def normalize_pose(
    x: Tensor, shoulders: tuple[int, int], hips: tuple[int, int], dims: int = 2
) -> Tensor:
    """Make the middle of the hips the origin of each frame, and the length of the trunk 1.

    The unit is one for each clip and person: the median over frames of the distance from the middle
    of the hips to that of the shoulders. Clips without a trunk keep their unit.

    Args:
        x: (N, M, T, V, C) skeletons.
        shoulders, hips: indices of the left and the right one.
        dims: d, the number of coordinates.
    """
    coordinates = x[..., :dims]
    top = coordinates[..., shoulders, :].mean(dim=-2)  # (N, M, T, d)
    origin = coordinates[..., hips, :].mean(dim=-2)

    length = (top - origin).norm(dim=-1).median(dim=2).values  # (N, M)
    unit = torch.where(length > 0, length, 1)[..., None, None, None]
    return _append_rest((coordinates - origin[..., None, :]) / unit, x)


def held_frames(x: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Return the number of frames from the first to the last that holds a body, and the first.

    Args:
        x: (N, M, T, V, C) skeletons. A clip without a body counts as a whole.
        dims: d, the number of coordinates.

    Returns:
        (N,) each.
    """
    total = x.shape[2]
    held = x[..., :dims].ne(0).flatten(3).any(dim=3).any(dim=1)  # (N, T)
    place = torch.arange(total, device=x.device)
    first = torch.where(held, place, total).amin(dim=1)
    last = torch.where(held, place, -1).amax(dim=1)
    is_empty = last < 0
    return torch.where(is_empty, total, last - first + 1), torch.where(is_empty, 0, first)


def resize_frames(
    x: Tensor, length: int, frames: Tensor | None = None, start: int | Tensor = 0
) -> Tensor:
    """Resize clips to ``length`` frames by linear interpolation between frame centers.

    As torch's ``interpolate(mode='linear', align_corners=False)``, but with a number of frames for
    each sample: frame i of the result is at (i + 0.5) frames / length - 0.5, held at both ends.

    Args:
        x: (N, M, T, V, C) skeletons.
        length: frames of the result.
        frames: (N,) integers, the number of frames to use of each sample, at least 1; all from
            ``start`` on if not given.
        start: the first frame to use, of all samples or, with ``frames``, of each (N,).
    """
    if frames is None:
        frames = torch.full((x.shape[0],), x.shape[2] - start, device=x.device)

    last = frames[:, None] - 1
    centers = torch.arange(length, device=x.device, dtype=x.dtype) + 0.5
    position = (centers * (frames.to(x.dtype) / length)[:, None] - 0.5).clamp(min=0)  # (N, length)
    low = torch.minimum(position.long(), last)
    high = torch.minimum(low + 1, last)

    weight = (position - low)[:, None, :, None, None]
    start = start[:, None] if isinstance(start, Tensor) else start
    return torch.lerp(take_frames(x, start + low), take_frames(x, start + high), weight)


def select_stream(x: Tensor, stream: str, layout: Layout) -> Tensor:
    """Form the joint, bone or motion stream of (already augmented) joint coordinates.

    Args:
        x: (N, M, T, V, C) joint coordinates.
        stream: ``joint``: x itself; ``bone``: every joint minus its parent; ``motion``: the next
            frame minus this one, zero in the last frame.
        layout: the skeleton, which gives bone parents and the number of coordinates.

    Raises:
        ValueError: if the stream is unknown.
    """
    check_choice('stream', stream, ('joint', 'bone', 'motion'))
    if stream == 'joint':
        return x

    coordinates = x[..., : layout.dims]
    if stream == 'bone':
        return _append_rest(coordinates - select_joints(coordinates, layout.bones), x)
    motion = F.pad(coordinates.diff(dim=2), (0, 0, 0, 0, 0, 1))
    return _append_rest(motion, x)
