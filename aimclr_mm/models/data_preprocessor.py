"""The data preprocessor: stacks a batch, draws its views on the device and forms the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmaction.registry import MODELS, TRANSFORMS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from aimclr_mm.skeletons import get_layout
from aimclr_mm.transforms.base import SkeletonTransform, transform_batch
from aimclr_mm.transforms.functional import select_stream
from aimclr_mm.transforms.pending import People

STREAMS = {
    'joint': 0.6,
    'bone': 0.6,
    'motion': 0.4,
}  # and their weights in fusion ("Experimental Settings")


@MODELS.register_module()
class SkeletonViews(BaseDataPreprocessor):
    """Makes the views x_hat (query), x (key) and x_tilde (extreme) of a batch, then their stream.

    The stream is computed after augmentation. Outside of training there is one view, without augmentation. Several
    streams are formed of the same augmented sequences.

    Args:
        layout: joint layout of the data; transforms that do not name one get it too.
        stream: ``joint``, ``bone`` or ``motion``; two or three of them for models that train several at once.
        query, key: transform configs of the query and the key view, in the order in which they are applied.
        extreme: transform configs of the extreme view; None for methods without one.
    """

    def __init__(
        self,
        layout='ntu25',
        stream: str | Sequence[str] = 'joint',
        query: Sequence[dict] = (),
        key: Sequence[dict] = (),
        extreme: Sequence[dict] | None = None,
    ) -> None:
        super().__init__()
        for name in [stream] if isinstance(stream, str) else stream:
            if name not in STREAMS:
                raise ValueError(f'unknown stream {name!r}; known are {", ".join(STREAMS)}')
        self.layout, self.stream = get_layout(layout), stream
        self.views = {
            name: self._build(transforms)
            for name, transforms in dict(query=query, key=key, extreme=extreme).items()
            if transforms is not None
        }

    def _build(self, transforms: Sequence[dict]) -> list[SkeletonTransform]:
        for cfg in transforms:
            kind = TRANSFORMS.get(cfg['type'])
            if kind is None or not issubclass(kind, SkeletonTransform):
                raise ValueError(f'{cfg["type"]} cannot make views: it is no SkeletonTransform')
        return [TRANSFORMS.build({'layout': self.layout, **cfg}) for cfg in transforms]

    def _stack(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """Skeletons (N * clips, M, T, V, C) on the device from samples (clips, M, T, V, C) or a batch of them."""
        if not isinstance(inputs, Tensor):
            inputs = inputs[0] if inputs[0].ndim == 6 else torch.stack(tuple(inputs))
        x = inputs.to(self.device, torch.float32, non_blocking=True).flatten(0, 1)
        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels < self.layout.dims:
            raise ValueError(
                f'layout {self.layout.name!r} has {self.layout.num_joints} joints and '
                f'{self.layout.dims} coordinates, but the data have {joints} joints and {channels} '
                'channels; set the layout of the data preprocessor to that of the data'
            )
        return x

    @torch.no_grad()
    def make_views(self, x: Tensor) -> dict[str, Tensor]:
        """Augmented views of joint coordinates (N, M, T, V, C)."""
        people = People(x)
        return {
            name: transform_batch(transforms, people) for name, transforms in self.views.items()
        }

    def form_streams(self, x: Tensor | dict[str, Tensor]) -> Tensor | dict:
        """The stream of joint coordinates or of each view of them; of several streams a dict by name."""

        def form(stream: str) -> Tensor | dict[str, Tensor]:
            if isinstance(x, Tensor):
                return select_stream(x, stream, self.layout)
            return {name: select_stream(view, stream, self.layout) for name, view in x.items()}

        return (
            form(self.stream)
            if isinstance(self.stream, str)
            else {stream: form(stream) for stream in self.stream}
        )

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs`` become a dict of views while training and one tensor (N * clips, M, T, V, C) otherwise.

        With several streams they are a dict of these by the names of the streams.
        """
        x = self._stack(data['inputs'])
        inputs = self.form_streams(self.make_views(x) if training else x)
        return dict(inputs=inputs, data_samples=data.get('data_samples'))


@MODELS.register_module()
class LabelledViews(SkeletonViews):
    """Inputs of mmaction2's recognizers: one view, with the transforms of ``query`` while training, in one stream."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs`` become (N, clips, M, T, V, C)."""
        x = self._stack(data['inputs'])
        view = self.make_views(x)['query'] if training else x
        inputs = self.form_streams(view).unflatten(0, (len(data['inputs']), -1))
        return dict(inputs=inputs, data_samples=data.get('data_samples'))


def build_preprocessor(cfg: dict | None) -> BaseDataPreprocessor | None:
    """The data preprocessor of a config, found whatever mmengine's current scope is (a notebook has none)."""
    return MODELS.build(cfg) if isinstance(cfg, Mapping) else cfg
