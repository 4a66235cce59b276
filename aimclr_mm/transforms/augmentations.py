"""The eight augmentations of the paper ("Data Augmentations"), each a registered transform.

Normal augmentations T: :class:`TemporalCrop`, :class:`Shear`. Extreme augmentations T': those two, then
:class:`SpatialFlip`, :class:`Rotate`, :class:`GaussianNoise`, :class:`GaussianBlur`, :class:`AxisMask` and
:class:`TemporalFlip`. Which are used in which order is written in the config (``configs/_base_/aimclr.py``).
Amplitudes and probabilities that the paper does not give are those of the released code.
"""

from __future__ import annotations

import torch
from mmaction.registry import TRANSFORMS
from torch import Tensor

from . import functional as F
from .base import ComposedTransform, RandomTransform
from .pending import PendingSkeletons


def _uniform(low: float, high: float, *shape: int, like: Tensor) -> Tensor:
    return torch.empty(shape, device=like.device, dtype=like.dtype).uniform_(low, high)


@TRANSFORMS.register_module()
class TemporalCrop(ComposedTransform):
    """Crop: T // padding_ratio mirrored frames on each side, then a window of T frames.

    Args:
        padding_ratio: the T frames over the padding on one side; 6 pads a sixth.
        p, layout: see :class:`RandomTransform`.
    """

    def __init__(self, padding_ratio: int = 6, p: float = 1.0, layout='ntu25') -> None:
        super().__init__(p, layout)
        if not isinstance(padding_ratio, int) or padding_ratio < 1:
            raise ValueError(
                f'TemporalCrop: padding_ratio={padding_ratio}; it must be a whole number of at least 1'
            )
        self.padding_ratio = padding_ratio

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """``start``: (N,) first frame of the window."""
        padding = x.shape[2] // self.padding_ratio
        return dict(start=torch.randint(0, 2 * padding + 1, (len(x),), device=x.device))

    def compose(self, view: PendingSkeletons, chosen: Tensor | None, start: Tensor) -> None:
        """Takes the window that starts at ``start``."""
        frames = view.x.shape[2]
        view.take_frames(F.crop_index(start, frames, frames // self.padding_ratio), chosen)


@TRANSFORMS.register_module()
class Shear(ComposedTransform):
    """Shear: multiplies coordinates by a matrix with ones on the diagonal and random factors elsewhere.

    Args:
        amplitude: factors are U(-amplitude, amplitude), all independent.
        p, layout: see :class:`RandomTransform`.
    """

    def __init__(self, amplitude: float = 0.5, p: float = 1.0, layout='ntu25') -> None:
        super().__init__(p, layout)
        if amplitude < 0:
            raise ValueError(f'Shear: amplitude={amplitude}; it must not be negative')
        self.amplitude = amplitude

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """``factors``: (N, d, d); the diagonal is not used."""
        dims = self.layout.dims
        return dict(factors=_uniform(-self.amplitude, self.amplitude, len(x), dims, dims, like=x))

    def compose(self, view: PendingSkeletons, chosen: Tensor | None, factors: Tensor) -> None:
        """Shears with the given factors."""
        view.map(F.shear_matrix(factors), chosen)


@TRANSFORMS.register_module()
class SpatialFlip(ComposedTransform):
    """Spatial flip: exchanges left and right joints; coordinates, also x, stay as they are.

    Args:
        p, layout: see :class:`RandomTransform`; the layout says which joints are exchanged.
    """

    def __init__(self, p: float = 0.5, layout='ntu25') -> None:
        super().__init__(p, layout)

    def compose(self, view: PendingSkeletons, chosen: Tensor | None) -> None:
        """Exchanges the joints."""
        view.select_joints(self.layout.mirror, chosen)


@TRANSFORMS.register_module()
class Rotate(ComposedTransform):
    """Rotate: one main axis, drawn evenly, by a large angle and the others by a small one. In 2-D: in the plane.

    Args:
        main_degrees: the angle about the main axis is U(0, main_degrees).
        other_degrees: the angles about the other axes are U(0, other_degrees).
        p, layout: see :class:`RandomTransform`.
    """

    def __init__(
        self, main_degrees: float = 30.0, other_degrees: float = 1.0, p: float = 1.0, layout='ntu25'
    ) -> None:
        super().__init__(p, layout)
        self.main_degrees, self.other_degrees = main_degrees, other_degrees

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """``degrees``: (N, 3) about x, y, z, or (N, 1) for two coordinates."""
        axes = 3 if self.layout.dims == 3 else 1
        main = torch.randint(0, axes, (len(x), 1), device=x.device)
        largest = torch.full((len(x), axes), self.other_degrees, device=x.device, dtype=x.dtype)
        largest.scatter_(1, main, self.main_degrees)
        return dict(degrees=largest * _uniform(0, 1, len(x), axes, like=x))

    def compose(self, view: PendingSkeletons, chosen: Tensor | None, degrees: Tensor) -> None:
        """Rotates by the given angles."""
        view.map(F.rotation_matrix(degrees), chosen)


@TRANSFORMS.register_module()
class GaussianNoise(RandomTransform):
    """Gaussian noise: adds N(0, std) to every coordinate.

    Args:
        std: standard deviation in the unit of the data (metres for Kinect).
        p, layout: see :class:`RandomTransform`.
    """

    def __init__(self, std: float = 0.01, p: float = 0.5, layout='ntu25') -> None:
        super().__init__(p, layout)
        if std < 0:
            raise ValueError(f'GaussianNoise: std={std}; it must not be negative')
        self.std = std

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """``noise``: (N, M, T, V, C), zero in channels that are no coordinates."""
        n, m, t, v, c = x.shape
        noise = (
            torch.randn((n, m, c, t, v), device=x.device, dtype=x.dtype)
            .mul_(self.std)
            .movedim(2, -1)
        )
        noise[..., self.layout.dims :] = 0
        return dict(noise=noise)

    def apply(self, x: Tensor, noise: Tensor) -> Tensor:
        """Adds the noise."""
        return x + noise

    def extend(self, view: PendingSkeletons) -> None:
        """Adds noise to each sample with probability p."""
        view.add(lambda x: self.draw(x)['noise'], self.choose(view.x))


@TRANSFORMS.register_module()
class GaussianBlur(RandomTransform):
    """Gaussian blur over time, one sigma a sample.

    Args:
        sigma: range of the standard deviation in frames, drawn evenly.
        taps: odd length of the kernel in frames.
        normalized: whether the kernel's taps add up to 1; the released code's do not (gain 1 to 5).
        p, layout: see :class:`RandomTransform`.
    """

    def __init__(
        self,
        sigma: tuple[float, float] = (0.1, 2.0),
        taps: int = 15,
        normalized: bool = True,
        p: float = 0.5,
        layout='ntu25',
    ) -> None:
        super().__init__(p, layout)
        if taps < 1 or taps % 2 == 0:
            raise ValueError(
                f'GaussianBlur: taps={taps}; the kernel must have an odd number of taps'
            )
        if not 0 < sigma[0] <= sigma[1]:
            raise ValueError(
                f'GaussianBlur: sigma={tuple(sigma)}; it must be a range of positive frames'
            )
        self.sigma, self.taps, self.normalized = tuple(sigma), taps, normalized

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """``sigma``: (N,) in frames."""
        return dict(sigma=_uniform(*self.sigma, len(x), like=x))

    def apply(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Blurs with the given sigma."""
        return F.temporal_blur(
            x, F.gaussian_kernel(sigma, self.taps, self.normalized), self.layout.dims
        )


@TRANSFORMS.register_module()
class AxisMask(ComposedTransform):
    """Axis mask: sets one coordinate, drawn evenly, to zero.

    Args:
        p, layout: see :class:`RandomTransform`.
    """

    def __init__(self, p: float = 0.5, layout='ntu25') -> None:
        super().__init__(p, layout)

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """``axis``: (N,) the coordinate."""
        return dict(axis=torch.randint(0, self.layout.dims, (len(x),), device=x.device))

    def compose(self, view: PendingSkeletons, chosen: Tensor | None, axis: Tensor) -> None:
        """Masks the given coordinate."""
        view.scale(F.mask_factors(axis, self.layout.dims), chosen)


@TRANSFORMS.register_module()
class TemporalFlip(ComposedTransform):
    """Temporal flip: plays the clip backwards.

    Args:
        p, layout: see :class:`RandomTransform`.
    """

    def __init__(self, p: float = 0.5, layout='ntu25') -> None:
        super().__init__(p, layout)

    def compose(self, view: PendingSkeletons, chosen: Tensor | None) -> None:
        """Reverses the frames."""
        samples, _, frames = view.x.shape[:3]
        view.take_frames(
            torch.arange(frames - 1, -1, -1, device=view.x.device).expand(samples, -1), chosen
        )
