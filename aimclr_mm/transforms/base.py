"""What every skeleton transform shares: batches of tensors inside, mmaction2's result dict outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor

from aimclr_mm.skeletons import Layout, get_layout

from .pending import PendingSkeletons, People


class SkeletonTransform(BaseTransform):
    """A transform of skeletons.

    A subclass implements :meth:`batch` on tensors of shape (N, M, T, V, C); that one implementation serves whole
    batches on the device (``transform.batch(x)``) and single samples in an mmaction2 pipeline
    (``transform(results)``), before or after ``FormatGCNInput``. In a pipeline, ``keypoint_score`` travels as a
    further channel, so that it follows flips and crops.

    Args:
        layout: name of a joint layout or a mapping with its fields.
    """

    def __init__(self, layout: str | Mapping | Layout = 'ntu25') -> None:
        self.layout = get_layout(layout)

    def batch(self, x: Tensor) -> Tensor:
        """Transforms skeletons (N, M, T, V, C)."""
        raise NotImplementedError

    def extend(self, view: PendingSkeletons) -> None:
        """Adds this transform to a view that others have begun."""
        view.edit(self.batch, None)

    def transform(self, results: dict) -> dict:
        """Transforms ``results['keypoint']``, (M, T, V, C) or, with clips in front, (N, M, T, V, C)."""
        keypoint = np.array(
            results['keypoint'], dtype=np.float32, order='C'
        )  # own memory: torch takes no views
        joints, channels = keypoint.shape[-2:]
        if joints != self.layout.num_joints:
            raise ValueError(
                f'{type(self).__name__} has layout {self.layout.name!r} with '
                f'{self.layout.num_joints} joints, but the keypoints have {joints}; set layout=... to '
                'the layout of the data'
            )
        if channels < self.layout.dims:
            raise ValueError(
                f'{type(self).__name__} has layout {self.layout.name!r} with {self.layout.dims} '
                f'coordinates, but the keypoints have {channels} channels; set layout=... to the '
                'layout of the data'
            )
        score = results.get('keypoint_score')
        if score is not None:
            keypoint = np.concatenate(
                [keypoint, np.asarray(score, dtype=np.float32)[..., None]], axis=-1
            )
        x = torch.from_numpy(keypoint)
        x = self.batch(x if x.ndim == 5 else x[None])
        keypoint = (x if keypoint.ndim == 5 else x[0]).numpy()
        if score is not None:
            results['keypoint_score'] = keypoint[..., -1]
            keypoint = keypoint[..., :-1]
        results['keypoint'] = np.ascontiguousarray(keypoint)
        results['total_frames'] = keypoint.shape[-3]
        return results

    def _need_3d(self) -> None:
        if self.layout.dims != 3:
            raise ValueError(
                f'{type(self).__name__} needs three coordinates; layout {self.layout.name!r} has '
                f'{self.layout.dims}. Leave this transform out'
            )


class RandomTransform(SkeletonTransform):
    """A transform with drawn parameters.

    A subclass implements :meth:`draw` (parameters, one row a sample, from torch's global generator of the device)
    and :meth:`apply` (a pure function of the skeletons and the parameters), so that the same parameters can be
    given to another implementation.

    Args:
        p: probability with which a sample is transformed; the others stay as they are.
        layout: see :class:`SkeletonTransform`.
    """

    def __init__(self, p: float = 1.0, layout: str | Mapping | Layout = 'ntu25') -> None:
        super().__init__(layout)
        if not 0 <= p <= 1:
            raise ValueError(
                f'{type(self).__name__}: p={p} is no probability; it must lie in [0, 1]'
            )
        self.p = p

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Random parameters for the N samples of x."""
        return {}

    def apply(self, x: Tensor, **params: Tensor) -> Tensor:
        """Transforms x with the given parameters."""
        raise NotImplementedError

    def choose(self, x: Tensor) -> Tensor | None:
        """Which of the N samples of x are transformed; None: all."""
        return None if self.p == 1 else torch.rand(len(x), device=x.device) < self.p

    def batch(self, x: Tensor) -> Tensor:
        """Transforms each sample with probability p."""
        return transform_batch([self], x)

    def extend(self, view: PendingSkeletons) -> None:
        """Transforms each sample with probability p."""
        view.edit(lambda x: self.apply(x, **self.draw(x)), self.choose(view.x))


class ComposedTransform(RandomTransform):
    """A random transform that only moves frames, exchanges joints or maps coordinates linearly.

    A subclass implements :meth:`draw` and :meth:`compose`.
    """

    def compose(self, view: PendingSkeletons, chosen: Tensor | None, **params: Tensor) -> None:
        """Adds this transform to what is pending for the chosen samples."""
        raise NotImplementedError

    def apply(self, x: Tensor, **params: Tensor) -> Tensor:
        """Transforms x with the given parameters."""
        view = PendingSkeletons(x)
        self.compose(view, None, **params)
        return view.value()

    def extend(self, view: PendingSkeletons) -> None:
        """Adds this transform to what is pending, for each sample with probability p."""
        self.compose(view, self.choose(view.x), **self.draw(view.x))


def transform_batch(transforms: Iterable[SkeletonTransform], x: Tensor | People) -> Tensor:
    """Skeletons (N, M, T, V, C) after several transforms, one after the other.

    The result has these dimensions, but in memory the coordinates are planes (see :mod:`.pending`).
    """
    view = PendingSkeletons(x)
    for transform in transforms:
        transform.extend(view)
    return view.value()
