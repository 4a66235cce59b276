"""The eight augmentations of the paper ("Data Augmentations"), each a registered transform.

Normal augmentations T: :class:`TemporalCrop`, :class:`Shear`. Extreme augmentations T': those two,
then :class:`SpatialFlip`, :class:`Rotate`, :class:`GaussianNoise`, :class:`GaussianBlur`,
:class:`AxisMask` and :class:`TemporalFlip`. The config (``configs/_base_/aimclr.py``) lists which
are used, in which order. Amplitudes and probabilities that the paper does not give are those of the
released code.
"""

from __future__ import annotations

import torch
from mmaction.registry import TRANSFORMS
from torch import Tensor

from aimclr_mm.skeletons import LayoutLike

from . import functional as F
from .base import SkeletonTransform


def _uniform(low: float, high: float, *shape: int, like: Tensor) -> Tensor:
    """Draw U(low, high) with the dtype and device of ``like``."""
    return torch.empty(shape, device=like.device, dtype=like.dtype).uniform_(low, high)


@TRANSFORMS.register_module()
class TemporalCrop(SkeletonTransform):
    """Crop: pad T // padding_ratio mirrored frames on each side, then take a window of T frames.

    Args:
        padding_ratio: T divided by the padding of one side; 6 pads a sixth of the clip.
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(
        self, padding_ratio: int = 6, p: float = 1.0, layout: LayoutLike = 'ntu25'
    ) -> None:
        super().__init__(p, layout)
        if not isinstance(padding_ratio, int) or padding_ratio < 1:
            raise ValueError(
                f'TemporalCrop: padding_ratio={padding_ratio}; it must be an integer of at least 1'
            )
        self.padding_ratio = padding_ratio

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw ``start`` (N,), the first frame of the window in the padded clip."""
        padding = x.shape[2] // self.padding_ratio
        return dict(start=torch.randint(0, 2 * padding + 1, (len(x),), device=x.device))

    def apply(self, x: Tensor, start: Tensor) -> Tensor:
        """Take the window that starts at ``start``."""
        frames = x.shape[2]
        return F.take_frames(x, F.crop_index(start, frames, frames // self.padding_ratio))


@TRANSFORMS.register_module()
class Shear(SkeletonTransform):
    """Shear: multiply coordinates by a matrix with a unit diagonal and random factors elsewhere.

    Args:
        amplitude: factors are U(-amplitude, amplitude), all independent.
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(
        self, amplitude: float = 0.5, p: float = 1.0, layout: LayoutLike = 'ntu25'
    ) -> None:
        super().__init__(p, layout)
        if amplitude < 0:
            raise ValueError(f'Shear: amplitude={amplitude}; it must not be negative')
        self.amplitude = amplitude

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw ``factors`` (N, d, d); the diagonal is not used."""
        dims = self.layout.dims
        return dict(factors=_uniform(-self.amplitude, self.amplitude, len(x), dims, dims, like=x))

    def apply(self, x: Tensor, factors: Tensor) -> Tensor:
        """Shear by the given factors."""
        return F.linear_map(x, F.shear_matrix(factors))


@TRANSFORMS.register_module()
class SpatialFlip(SkeletonTransform):
    """Spatial flip: exchange left and right joints; no coordinate changes sign.

    Args:
        p, layout: see :class:`SkeletonTransform`; the layout says which joints are exchanged.
    """

    def __init__(self, p: float = 0.5, layout: LayoutLike = 'ntu25') -> None:
        super().__init__(p, layout)

    def apply(self, x: Tensor) -> Tensor:
        """Exchange the joints."""
        return F.select_joints(x, self.layout.mirror)


@TRANSFORMS.register_module()
class Rotate(SkeletonTransform):
    """Rotate: a large angle about a main axis, drawn uniformly, and small ones about the others.

    Two-dimensional skeletons rotate in their plane.

    Args:
        main_degrees: the angle about the main axis is U(0, main_degrees).
        other_degrees: the angles about the other axes are U(0, other_degrees).
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(
        self,
        main_degrees: float = 30.0,
        other_degrees: float = 1.0,
        p: float = 1.0,
        layout: LayoutLike = 'ntu25',
    ) -> None:
        super().__init__(p, layout)
        self.main_degrees = main_degrees
        self.other_degrees = other_degrees

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw ``degrees``: (N, 3) about x, y, z, or (N, 1) for two coordinates."""
        axes = 3 if self.layout.dims == 3 else 1
        main = torch.randint(0, axes, (len(x), 1), device=x.device)
        largest = torch.full((len(x), axes), self.other_degrees, device=x.device, dtype=x.dtype)
        largest.scatter_(1, main, self.main_degrees)
        return dict(degrees=largest * _uniform(0, 1, len(x), axes, like=x))

    def apply(self, x: Tensor, degrees: Tensor) -> Tensor:
        """Rotate by the given angles."""
        return F.linear_map(x, F.rotation_matrix(degrees))


@TRANSFORMS.register_module()
class GaussianNoise(SkeletonTransform):
    """Gaussian noise: add N(0, std) to every coordinate.

    Args:
        std: standard deviation in the unit of the data (meters for Kinect).
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, std: float = 0.01, p: float = 0.5, layout: LayoutLike = 'ntu25') -> None:
        super().__init__(p, layout)
        if std < 0:
            raise ValueError(f'GaussianNoise: std={std}; it must not be negative')
        self.std = std

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw ``noise`` (N, M, T, V, C), zero in channels that are not coordinates."""
        noise = self.std * torch.randn(x.shape, device=x.device, dtype=x.dtype)
        noise[..., self.layout.dims :] = 0
        return dict(noise=noise)

    def apply(self, x: Tensor, noise: Tensor) -> Tensor:
        """Add the noise."""
        return x + noise


@TRANSFORMS.register_module()
class GaussianBlur(SkeletonTransform):
    """Gaussian blur over time, with one sigma for each sample.

    Args:
        sigma: range of the standard deviation in frames, drawn uniformly.
        taps: odd length of the kernel in frames.
        normalized: whether the taps add up to 1; those of the released code do not (gain 1 to 5).
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(
        self,
        sigma: tuple[float, float] = (0.1, 2.0),
        taps: int = 15,
        normalized: bool = True,
        p: float = 0.5,
        layout: LayoutLike = 'ntu25',
    ) -> None:
        super().__init__(p, layout)
        if taps < 1 or taps % 2 == 0:
            raise ValueError(
                f'GaussianBlur: taps={taps}; the kernel must have an odd number of taps'
            )
        if not 0 < sigma[0] <= sigma[1]:
            raise ValueError(
                f'GaussianBlur: sigma={tuple(sigma)}; it must be a range of positive numbers'
            )
        self.sigma = tuple(sigma)
        self.taps = taps
        self.normalized = normalized

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw ``sigma`` (N,) in frames."""
        return dict(sigma=_uniform(*self.sigma, len(x), like=x))

    def apply(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Blur with the given sigma."""
        kernel = F.gaussian_kernel(sigma, self.taps, self.normalized)
        return F.temporal_blur(x, kernel, self.layout.dims)


@TRANSFORMS.register_module()
class AxisMask(SkeletonTransform):
    """Axis mask: set one coordinate, drawn uniformly, to zero.

    Args:
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, p: float = 0.5, layout: LayoutLike = 'ntu25') -> None:
        super().__init__(p, layout)

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw ``axis`` (N,), the index of the coordinate."""
        return dict(axis=torch.randint(0, self.layout.dims, (len(x),), device=x.device))

    def apply(self, x: Tensor, axis: Tensor) -> Tensor:
        """Set the given coordinate to zero."""
        kept = torch.arange(x.shape[-1], device=x.device) != axis[:, None]  # (N, C)
        return x * kept[:, None, None, None, :]


@TRANSFORMS.register_module()
class TransferBoneLengths(SkeletonTransform):
    """Bone-length transfer (ActCLR): the bones get the lengths of those of another sample.

    It is not one of the eight augmentations. In a batch of one sample nothing changes.

    Args:
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, p: float = 1.0, layout: LayoutLike = 'ntu25') -> None:
        super().__init__(p, layout)

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw ``mate`` (N,), the sample whose bone lengths each sample gets."""
        shift = torch.randint(1, max(len(x), 2), (), device=x.device)
        return dict(mate=(torch.arange(len(x), device=x.device) + shift) % len(x))

    def apply(self, x: Tensor, mate: Tensor) -> Tensor:
        """Take the bone lengths of the given samples."""
        dims, parents = self.layout.dims, self.layout.bones
        coordinates = x[..., :dims]
        lengths = (coordinates - F.select_joints(coordinates, parents)).norm(dim=-1)
        return F.transfer_bone_lengths(x, lengths[mate], parents, dims)


@TRANSFORMS.register_module()
class TemporalFlip(SkeletonTransform):
    """Temporal flip: play the clip backwards.

    Args:
        p, layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, p: float = 0.5, layout: LayoutLike = 'ntu25') -> None:
        super().__init__(p, layout)

    def apply(self, x: Tensor) -> Tensor:
        """Reverse the frames."""
        return x.flip(2)
