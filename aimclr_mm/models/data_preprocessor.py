"""The data preprocessor: draws the views of a batch on the device and forms the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmaction.registry import MODELS, TRANSFORMS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from aimclr_mm.datasets.batch import SkeletonBatch, as_batch
from aimclr_mm.skeletons import LayoutLike, get_layout
from aimclr_mm.transforms import SkeletonTransform
from aimclr_mm.transforms.functional import select_stream
from aimclr_mm.utils.arguments import check_choice

# streams and their weights in fusion ("Experimental Settings")
STREAMS = {'joint': 0.6, 'bone': 0.6, 'motion': 0.4}


@MODELS.register_module()
class SkeletonViews(BaseDataPreprocessor):
    """Make the views of a batch, x_hat (query), x (key) and x_tilde (extreme), and their stream.

    The stream is computed after augmentation; several streams are formed from the same
    augmented sequences. Outside of training there is one view, without augmentation.

    Args:
        layout: joint layout of the data; transforms without a layout of their own get it too.
        stream: ``joint``, ``bone`` or ``motion``; two or three of them for models that train
            several at once.
        query, key: transform configs of the query and the key view, in the order of application.
        extreme: transform configs of the extreme view; None for methods without one.
        others: transform configs of further views by name, for methods that need them.
        pairs: whether the two clips of a sample are two recordings of one movement
            (:class:`~aimclr_mm.datasets.movements.RandomMovements`). The key view is then made of
            the second clip, the others of the first; otherwise all views are made of each clip.
    """

    def __init__(
        self,
        layout: LayoutLike = 'ntu25',
        stream: str | Sequence[str] = 'joint',
        query: Sequence[dict] = (),
        key: Sequence[dict] = (),
        extreme: Sequence[dict] | None = None,
        others: Mapping[str, Sequence[dict]] | None = None,
        pairs: bool = False,
    ) -> None:
        super().__init__()
        for name in [stream] if isinstance(stream, str) else stream:
            check_choice('stream', name, STREAMS)
        self.layout = get_layout(layout)
        self.stream = stream
        self.pairs = pairs

        self.views = {'query': self._build(query), 'key': self._build(key)}
        if extreme is not None:
            self.views['extreme'] = self._build(extreme)
        for name, transforms in (others or {}).items():
            if name in self.views:
                raise ValueError(f'others names the view {name!r}, which has its own setting')
            self.views[name] = self._build(transforms)

    def _build(self, transforms: Sequence[dict]) -> list[SkeletonTransform]:
        """Build the transforms of one view."""
        for cfg in transforms:
            kind = TRANSFORMS.get(cfg['type'])
            if kind is None or not issubclass(kind, SkeletonTransform):
                raise ValueError(f'{cfg["type"]} cannot make views: it is not a SkeletonTransform')
        return [TRANSFORMS.build({'layout': self.layout, **cfg}) for cfg in transforms]

    def load(self, batch: SkeletonBatch) -> Tensor:
        """Return the skeletons (N * clips, M, T, V, C) of a batch, on the device in float32."""
        x = batch.inputs.to(self.device, torch.float32, non_blocking=True).flatten(0, 1)

        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels < self.layout.dims:
            raise ValueError(
                f'layout {self.layout.name!r} has {self.layout.num_joints} joints and '
                f'{self.layout.dims} coordinates, but the data have {joints} joints and {channels} '
                'channels; set the layout of the data preprocessor to that of the data'
            )
        return x

    def make_views(self, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Augment joint coordinates (N, M, T, V, C), independently for each view.

        Args:
            x: the coordinates. With ``pairs``, the two clips of each sample follow each other, and
                views are (N / 2, M, T, V, C).
            names: views to make; all of them if not given.
        """
        views = {}
        # float32 also where the training step runs under autocast
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            for name in names or self.views:
                view = x
                if self.pairs:
                    view = x[1::2] if name == 'key' else x[::2]
                for transform in self.views[name]:
                    view = transform.batch(view)
                views[name] = view
        return views

    def form_streams(self, x: Tensor | dict[str, Tensor]) -> Tensor | dict:
        """Form the stream of joint coordinates (N, M, T, V, C), or of each view in a dict of views.

        With several streams, return a dict of these results by the name of the stream.
        """
        if not isinstance(self.stream, str):
            return {stream: self._form(x, stream) for stream in self.stream}
        return self._form(x, self.stream)

    def _form(self, x: Tensor | dict[str, Tensor], stream: str) -> Tensor | dict[str, Tensor]:
        """Form one stream of joint coordinates or of each view of them."""
        if isinstance(x, Tensor):
            return select_stream(x, stream, self.layout)
        return {name: select_stream(view, stream, self.layout) for name, view in x.items()}

    def forward(self, data: SkeletonBatch | Mapping, training: bool = False) -> dict:
        """Return the keyword arguments of the model, ``inputs`` and ``data_samples``.

        Args:
            data: the batch, see :func:`~aimclr_mm.datasets.batch.as_batch`.
            training: if true, ``inputs`` are a dict of views, each (N * clips, M, T, V, C); else
                one such tensor, the skeletons without augmentation. With several streams they are
                a dict of these by the name of the stream.
        """
        batch = as_batch(data)
        x = self.load(batch)
        if training and self.pairs and batch.inputs.shape[1] != 2:
            raise ValueError(
                f'pairs=True needs two clips per sample, but the data have {batch.inputs.shape[1]}'
            )
        inputs = self.form_streams(self.make_views(x) if training else x)
        return dict(inputs=inputs, data_samples=batch.data_samples)


@MODELS.register_module()
class LabeledViews(SkeletonViews):
    """Inputs of mmaction2's recognizers: one view in one stream, augmented by ``query``."""

    def forward(self, data: SkeletonBatch | Mapping, training: bool = False) -> dict:
        """Return ``inputs`` (N, clips, M, T, V, C), augmented while training, and data samples."""
        batch = as_batch(data)
        x = self.load(batch)
        view = self.make_views(x, ['query'])['query'] if training else x
        inputs = self.form_streams(view).unflatten(0, batch.inputs.shape[:2])
        return dict(inputs=inputs, data_samples=batch.data_samples)


def build_preprocessor(cfg: dict | None) -> BaseDataPreprocessor | None:
    """Build the data preprocessor of a config.

    mmengine's models build it in the current default scope, which a notebook does not have.
    """
    return MODELS.build(cfg) if isinstance(cfg, Mapping) else cfg
