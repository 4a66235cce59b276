"""ActCLR (Lin et al., CVPR 2023): contrast that spares the actionlet of a clip."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.actionlet import actionlet_share, find_actionlet, splice
from aimclr_mm.models.encoder import pool
from aimclr_mm.models.losses import distillation, unit_vectors
from aimclr_mm.models.skelemix import SkeleMix
from aimclr_mm.skeletons import LayoutLike
from aimclr_mm.transforms.functional import mix_clips, resize_frames

from .skeletonclr import SkeletonCLR


@MODELS.register_module()
class ActCLR(SkeletonCLR):
    """Match the similarities of augmented clips with the memory bank with those of their keys.

    The actionlet of a clip is where it differs from the mean clip of the batch. Strong
    augmentation and mixing act outside of it only, except for a third query: a mixed clip whose
    teacher is the mean of both keys, weighted by what is left of their actionlets. It starts from
    the encoder of a finished training (``--pretrained``).

    Args:
        neighbors: number of keys, those most similar to the teacher, that are compared.
        temperatures: of the student and of the teacher.
        parts: fewest and most body parts that mixing replaces.
        time: smallest and largest share of the frames that mixing replaces.
        stride: frames of the clip for each frame of the feature map.
        layout: joint layout of the data.
        *args, **kwargs: see :class:`SkeletonCLR`; ``temperature`` is not used.

    Raises:
        ValueError: if an argument is out of range.
    """

    VIEWS = ('query', 'key', 'extreme', 'strong')

    def __init__(
        self,
        *args: Any,
        neighbors: int = 8192,
        temperatures: tuple[float, float] = (0.1, 0.04),
        parts: tuple[int, int] = (2, 3),
        time: tuple[float, float] = (3 / 13, 5 / 13),
        stride: int = 4,
        layout: LayoutLike = 'ntu25',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        length = len(self.memory_bank)
        if not 1 <= neighbors <= length:
            raise ValueError(
                f'neighbors={neighbors}; it must lie between 1 and queue_length={length}'
            )
        if len(temperatures) != 2 or not all(0 < value < math.inf for value in temperatures):
            raise ValueError(f'temperatures={temperatures}; give two positive numbers')
        if self.mixing is not None:
            raise ValueError('ActCLR mixes clips itself; set mixing=None')

        self.neighbors = neighbors
        self.temperatures = tuple(temperatures)
        self.regions = SkeleMix(parts, time, stride, layout=layout)

    def loss(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the three losses of a batch of views, (N, M, T, V, C) each."""
        key, anchor = self.encode_actionlets(views['key'])  # (N, D), (1, D)
        bank = self.memory_bank.snapshot()  # (K, D)

        strong = splice(views['strong'], views['extreme'], self.actionlet(views['strong'], anchor))
        actionlet = self.actionlet(views['query'], anchor)  # (N, M, T', V)
        mixed, *_ = self.mix(views['query'])
        spared = splice(views['query'], mixed, actionlet)
        mixed, shift, given, lost = self.mix(views['query'])
        self.regions.check_size(actionlet, given, views['query'].shape[2])
        teacher = blend_keys(key, shift, actionlet, given, 1 - lost)

        losses = dict(
            loss_strong=self.match(strong, key, bank),
            loss_spared=self.match(spared, key, bank),
            loss_mixed=self.match(mixed, teacher, bank),
        )
        self.memory_bank.enqueue(key)
        return losses

    def match(self, view: Tensor, teacher: Tensor, bank: Tensor) -> Tensor:
        """Return the divergence of the similarities of a view from those of its teacher (N, D)."""
        student = self.encoder(view)  # (N, D)
        return distillation(student, teacher, bank, self.neighbors, self.temperatures)

    @torch.no_grad()
    def encode_actionlets(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys (N, D) and the anchor (1, D), without gradient.

        A key is the mean of the projections of the whole clip and of its actionlet.
        """
        encoder = self.key_encoder
        anchor = encoder(view.mean(dim=0, keepdim=True))  # (1, D)
        feature_map = encoder.backbone(view)
        mask = find_actionlet(feature_map, encoder.head, anchor, self.regions.body)
        whole, inside = (encoder.head(pool(feature_map, region)) for region in (None, mask))
        return unit_vectors((whole + inside) / 2), anchor

    @torch.no_grad()
    def actionlet(self, view: Tensor, anchor: Tensor) -> Tensor:
        """Return the actionlets (N, M, T', V) of a view by the query encoder."""
        feature_map = self.encoder.backbone(view)
        return find_actionlet(feature_map, self.encoder.head, anchor, self.regions.body)

    @torch.no_grad()
    def mix(self, view: Tensor) -> tuple[Tensor, int, Tensor, Tensor]:
        """Mix each clip with another one: cut and paste, resize and paste, or blend.

        Returns:
            the mixed clips; the distance to the mate; of which part (T', V) of the mate something
            is in the clip, and which part (T', V) of the clip is lost, both in [0, 1].
        """
        frames = view.shape[2]
        shift, mask = self.regions.draw(len(view), frames, view.device)  # (T', V)
        lost = mask.float()
        kind, weight = torch.rand(2).tolist()
        if kind < 0.25:
            whole = torch.full_like(lost, weight)
            return torch.lerp(view, view.roll(-shift, dims=0), weight), shift, whole, whole

        pasted = mask.repeat_interleave(self.regions.stride, dim=0)[:frames]  # (T, V)
        if kind >= 0.5:
            return mix_clips(view, shift, pasted), shift, lost, lost

        # the mate's first frames, twice as many as there is room for, at double speed
        place = pasted.any(dim=1).nonzero()[:, 0]
        source = view.roll(-shift, dims=0)[:, :, : 2 * len(place)]
        mates = view.clone()
        mates[:, :, place] = resize_frames(source, len(place))
        given = lost.any(dim=0).expand_as(lost).float()
        return torch.where(pasted[..., None], mates, view), shift, given, lost

    def chance_loss(self) -> float:
        """Return an upper bound of what a student without information loses, for each query."""
        return 3 * math.log(self.neighbors)


def blend_keys(key: Tensor, shift: int, actionlet: Tensor, given: Tensor, kept: Tensor) -> Tensor:
    """Return the teachers (N, D) of mixed clips: both keys, by what is left of their actionlets.

    Args:
        key: (N, D) keys.
        shift: the mate of clip i is clip i + shift.
        actionlet: (N, M, T, V) boolean.
        given: (T, V) the part of the mate that is in the mixed clip.
        kept: (T, V) the part of the clip that is in the mixed clip.
    """
    mates = actionlet_share(actionlet, given).roll(-shift, dims=0)  # (N,)
    own = actionlet_share(actionlet, kept)
    total = (mates + own).clamp(min=1e-8)
    return unit_vectors(
        key * (own / total)[:, None] + key.roll(-shift, dims=0) * (mates / total)[:, None]
    )
