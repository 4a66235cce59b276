"""The interface of every skeleton transform: draw parameters, apply them."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor

from aimclr_mm.skeletons import LayoutLike, get_layout


class SkeletonTransform(BaseTransform):
    """Base class of transforms of skeletons (N, M, T, V, C).

    A subclass implements :meth:`apply` and, if it is random, :meth:`draw`. That one implementation
    serves whole batches on any device (:meth:`batch`) and single samples in a pipeline of
    mmaction2 (:meth:`transform`), before or after ``FormatGCNInput``.

    Args:
        p: probability with which a sample is transformed; the others are returned unchanged.
        layout: joint layout of the data, see :func:`~aimclr_mm.skeletons.get_layout`.
    """

    def __init__(self, p: float = 1.0, layout: LayoutLike = 'ntu25') -> None:
        if not 0 <= p <= 1:
            raise ValueError(
                f'{type(self).__name__}: p={p} is not a probability; it must lie in [0, 1]'
            )
        self.p = p
        self.layout = get_layout(layout)

    @property
    def is_random(self) -> bool:
        """Whether two calls may give different results."""
        return self.p < 1 or type(self).draw is not SkeletonTransform.draw

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """Draw the parameters of all N samples from torch's global generator.

        Args:
            x: (N, M, T, V, C) the whole batch as :meth:`apply` will get it. Only its shape, dtype
                and device may be used, never its values.

        Returns:
            Keyword arguments of :meth:`apply`, tensors with one row for each sample. Deterministic
            transforms have none.
        """
        return {}

    def apply(self, x: Tensor, **params: Tensor) -> Tensor:
        """Transform all samples of x (N, M, T, V, C) with the given parameters.

        A pure function: x is not modified.
        """
        raise NotImplementedError

    def batch(self, x: Tensor) -> Tensor:
        """Transform each sample of x (N, M, T, V, C) with probability p."""
        transformed = self.apply(x, **self.draw(x))
        if self.p == 1:
            return transformed

        chosen = torch.rand(len(x), device=x.device) < self.p  # (N,)
        return torch.where(chosen[:, None, None, None, None], transformed, x)

    def transform(self, results: dict) -> dict:
        """Transform ``results['keypoint']``, the entry point of mmaction2's pipelines.

        Args:
            results: ``keypoint`` is (M, T, V, C), or (N, M, T, V, C) for N clips of one sample.
                ``keypoint_score`` (the same without C) is carried along as a further channel, so
                that it follows flips and crops.
        """
        keypoint = np.array(results['keypoint'], dtype=np.float32, order='C')  # torch needs a copy
        self._check_keypoint(keypoint)

        score = results.get('keypoint_score')
        if score is not None:
            score = np.asarray(score, dtype=np.float32)
            keypoint = np.concatenate([keypoint, score[..., None]], axis=-1)

        x = torch.from_numpy(keypoint)
        x = self.batch(x) if x.ndim == 5 else self.batch(x[None])[0]
        keypoint = x.numpy()

        if score is not None:
            results['keypoint_score'] = keypoint[..., -1]
            keypoint = keypoint[..., :-1]
        results['keypoint'] = np.ascontiguousarray(keypoint)
        results['total_frames'] = keypoint.shape[-3]
        return results

    def _check_keypoint(self, keypoint: np.ndarray) -> None:
        """Raise ValueError if keypoints (..., V, C) do not fit the layout."""
        joints, channels = keypoint.shape[-2:]
        name = type(self).__name__
        layout = self.layout

        if joints != layout.num_joints:
            raise ValueError(
                f'{name} has layout {layout.name!r} with {layout.num_joints} joints, but the '
                f'keypoints have {joints}; set layout=... to the layout of the data'
            )
        if channels < layout.dims:
            raise ValueError(
                f'{name} has layout {layout.name!r} with {layout.dims} coordinates, but the '
                f'keypoints have {channels} channels; set layout=... to the layout of the data'
            )
