"""The data preprocessor: stacks a batch, draws its views on the device and forms the stream."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmaction.registry import MODELS, TRANSFORMS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from aimclr_mm.skeletons import get_layout
from aimclr_mm.transforms.base import SkeletonTransform
from aimclr_mm.transforms.functional import select_stream

STREAMS = ('joint', 'bone', 'motion')


@MODELS.register_module()
class SkeletonViews(BaseDataPreprocessor):
    """Makes the views x_hat (query), x (key) and x_tilde (extreme) of a batch, then their stream.

    The stream is computed after augmentation. Outside of training there is one view, without augmentation.

    Args:
        layout: joint layout of the data; transforms that do not name one get it too.
        stream: ``joint``, ``bone`` or ``motion``.
        query, key: transform configs of the query and the key view, in the order in which they are applied.
        extreme: transform configs of the extreme view; None for methods without one.
    """

    def __init__(self, layout='ntu25', stream: str = 'joint', query: Sequence[dict] = (), key: Sequence[dict] = (),
                 extreme: Sequence[dict] | None = None) -> None:
        super().__init__()
        if stream not in STREAMS:
            raise ValueError(f'unknown stream {stream!r}; known are {", ".join(STREAMS)}')
        self.layout, self.stream = get_layout(layout), stream
        self.views = {name: self._build(transforms)
                      for name, transforms in dict(query=query, key=key, extreme=extreme).items()
                      if transforms is not None}

    def _build(self, transforms: Sequence[dict]) -> list[SkeletonTransform]:
        for cfg in transforms:
            kind = TRANSFORMS.get(cfg['type'])
            if kind is None or not issubclass(kind, SkeletonTransform):
                raise ValueError(f'{cfg["type"]} cannot make views: it is no SkeletonTransform')
        return [TRANSFORMS.build({'layout': self.layout, **cfg}) for cfg in transforms]

    def _stack(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """Skeletons (N * clips, M, T, V, C) on the device from samples of shape (clips, M, T, V, C)."""
        x = inputs if isinstance(inputs, Tensor) else torch.stack(tuple(inputs))
        x = x.to(self.device, torch.float32, non_blocking=True).flatten(0, 1)
        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels < self.layout.dims:
            raise ValueError(f'layout {self.layout.name!r} has {self.layout.num_joints} joints and '
                             f'{self.layout.dims} coordinates, but the data have {joints} joints and {channels} '
                             'channels; set the layout of the data preprocessor to that of the data')
        return x

    @torch.no_grad()
    def make_views(self, x: Tensor) -> dict[str, Tensor]:
        """Augmented views of joint coordinates (N, M, T, V, C), each already in the stream."""
        views = {}
        for name, transforms in self.views.items():
            view = x
            for transform in transforms:
                view = transform.batch(view)
            views[name] = select_stream(view, self.stream, self.layout)
        return views

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs`` become a dict of views while training and one tensor (N * clips, M, T, V, C) otherwise."""
        x = self._stack(data['inputs'])
        inputs = self.make_views(x) if training else select_stream(x, self.stream, self.layout)
        return dict(inputs=inputs, data_samples=data.get('data_samples'))


def build_preprocessor(cfg: dict | None) -> BaseDataPreprocessor | None:
    """The data preprocessor of a config, found whatever mmengine's current scope is (a notebook has none)."""
    return MODELS.build(cfg) if isinstance(cfg, Mapping) else cfg
