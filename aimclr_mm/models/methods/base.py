"""What all methods of one stream have in common: an encoder and mmengine's three modes."""

from __future__ import annotations

from typing import ClassVar

from mmengine.model import BaseModel
from torch import Tensor, nn

from aimclr_mm.models.data_preprocessor import build_preprocessor
from aimclr_mm.models.encoder import Encoder, attach_features
from aimclr_mm.models.readouts import READOUTS, represent
from aimclr_mm.utils.arguments import check_choice

MODES = ('loss', 'tensor', 'predict')  # of mmengine's forward


class SkeletonMethod(BaseModel):
    """Base class of methods: an encoder that learns from views of a batch of sequences.

    A subclass implements :meth:`loss` and :meth:`chance_loss`, and names its views.

    Args:
        backbone: config of the backbone f, (N, M, T, V, C) -> (N, M, C', T', V).
        head: config of the projection head g.
        readout: how representations h are read out of the last feature map outside of training, see
            :func:`~aimclr_mm.models.readouts.represent`; the losses always use the mean.
        data_preprocessor: config of :class:`~aimclr_mm.models.SkeletonViews`.

    Raises:
        ValueError: if the data preprocessor makes views, but not all that the method needs.
    """

    VIEWS: ClassVar[tuple[str, ...]] = ()  # that the loss needs

    def __init__(
        self,
        backbone: dict,
        head: dict,
        readout: str = 'mean',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(build_preprocessor(data_preprocessor), init_cfg)
        check_choice('readout', readout, READOUTS)
        self.check_views(self.data_preprocessor)
        self.readout = readout
        self.encoder = Encoder(backbone, head)

    @classmethod
    def check_views(cls, data_preprocessor: nn.Module | None) -> None:
        """Raise ValueError if a data preprocessor makes views, but not all of this method."""
        made = getattr(data_preprocessor, 'views', cls.VIEWS)
        for name in cls.VIEWS:
            if name not in made:
                setting = name if name == 'extreme' else f'others.{name}'
                raise ValueError(
                    f'{cls.__name__} needs the view {name!r}, but data_preprocessor.{setting} is '
                    'not set; list its transforms there, or use SkeletonCLR'
                )

    def loss(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch of views, (N, M, T, V, C) each."""
        raise NotImplementedError

    def chance_loss(self) -> float:
        """Return the total loss when all similarities are equal: nothing has been learned."""
        raise NotImplementedError

    def forward(
        self,
        inputs: Tensor | dict[str, Tensor],
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> dict | list | Tensor:
        """Run one of mmengine's three modes.

        Args:
            inputs: the views, (N, M, T, V, C) each, for ``loss``; else one tensor (N, M, T, V, C).
            data_samples: mmaction2's data samples; their labels are not used.
            mode: ``loss`` returns losses, ``tensor`` representations h (N, D), ``predict`` the
                data samples with the field ``feature``.
        """
        check_choice('mode', mode, MODES)
        if mode == 'loss':
            return self.loss(inputs)

        features = self.represent(inputs, getattr(self.data_preprocessor, 'stream', 'joint'))
        return features if mode == 'tensor' else attach_features(features, data_samples)

    def represent(self, x: Tensor, stream: str) -> Tensor:
        """Return the representations h (N, D) of skeletons (N, M, T, V, C) of a stream."""
        return represent(self.encoder.backbone, x, self.readout, stream)

    def init_weights(self) -> None:
        """Initialize the encoder."""
        self.encoder.init_weights()
