"""The encoder, backbone f and projection head g, and the momentum update of the key encoder."""

from __future__ import annotations

from itertools import pairwise

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from .losses import unit_vectors


def pool(feature_map: Tensor, mask: Tensor | None = None) -> Tensor:
    """Average a feature map (N, M, C, T, V) over frames and joints, then over people: h (N, C).

    An absent second person counts as a person, as in the released code. Sums are taken in float32
    or better.

    Args:
        feature_map: (N, M, C, T, V).
        mask: (T, V), or (N, M, T, V) for each sample and person, boolean; only frames and joints
            where it is true count. A person of whom nothing counts has zeros.
    """
    dtype = torch.promote_types(feature_map.dtype, torch.float32)
    if mask is None:
        h = feature_map.mean(dim=(3, 4), dtype=dtype).mean(dim=1)
    else:
        total = torch.where(mask.unsqueeze(-3), feature_map, 0).sum(dim=(3, 4), dtype=dtype)
        count = mask.sum(dim=(-2, -1)).clamp(min=1)[..., None]  # (1,) or (N, M, 1)
        h = (total / count).mean(dim=1)
    return h.to(feature_map.dtype)


def attach_features(
    features: Tensor, data_samples: list[BaseDataElement | dict]
) -> list[BaseDataElement | dict]:
    """Set the field ``feature`` of each data sample, averaged over its clips.

    Args:
        features: (N * clips, C) representations.
        data_samples: N data samples of mmaction2, or dicts of their fields.

    Returns:
        The same data samples.
    """
    clips = features.float().view(len(data_samples), -1, features.shape[1])  # (N, clips, C)
    for sample, feature in zip(data_samples, clips.mean(dim=1).cpu()):
        if isinstance(sample, dict):
            sample['feature'] = feature
        else:
            sample.set_field(feature, 'feature')
    return data_samples


@MODELS.register_module()
class ProjectionHead(BaseModule):
    """The MLP head g: Linear, ReLU, Linear.

    Args:
        in_channels: channels of the backbone's features.
        hidden_channels: width of the hidden layers.
        out_channels: D, the size of the embedding.
        num_layers: number of linear layers, at least 1.
        batch_norm: whether a batch norm follows each hidden linear layer, which then has no bias.
    """

    def __init__(
        self,
        in_channels: int = 256,
        hidden_channels: int = 256,
        out_channels: int = 128,
        num_layers: int = 2,
        batch_norm: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_layers < 1:
            raise ValueError(f'num_layers={num_layers}; a head has at least one linear layer')

        self.out_channels = out_channels
        widths = [in_channels, *[hidden_channels] * (num_layers - 1)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(outputs))
            layers.append(nn.ReLU(inplace=True))
        self.fc = nn.Sequential(*layers, nn.Linear(widths[-1], out_channels))

    def forward(self, h: Tensor) -> Tensor:
        """Project representations (N, in_channels) to (N, out_channels)."""
        expected = self.fc[0].in_features
        if h.shape[1] != expected:
            raise ValueError(
                f'the head takes {expected} channels, but the backbone gives {h.shape[1]}; set '
                'in_channels of the head to out_channels of the backbone'
            )
        return self.fc(h)


class Encoder(BaseModule):
    """Backbone f and projection head g.

    Args:
        backbone: config of the backbone, (N, M, T, V, C) -> (N, M, C', T', V).
        head: config of the projection head.
    """

    def __init__(self, backbone: dict, head: dict) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head)

    def project(self, feature_map: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the unit embeddings z (N, D) of a feature map (N, M, C', T', V).

        Args:
            feature_map: (N, M, C', T', V).
            mask: frames and joints that count, see :func:`pool`.
        """
        return unit_vectors(self.head(pool(feature_map, mask)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit embeddings z (N, D) of skeletons (N, M, T, V, C)."""
        return self.project(self.backbone(x))


@torch.no_grad()
def momentum_update(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """Move the key encoder's parameters towards the query encoder's (Eq. 2): k <- m k + (1 - m) q.

    mmengine's ``ExponentialMovingAverage`` does not fit: its first update copies, and it overwrites
    the key encoder's own batch-norm statistics.

    Args:
        momentum: m, the weight of the old value, in [0, 1].
    """
    torch._foreach_lerp_(list(key.parameters()), list(query.parameters()), 1 - momentum)


@torch.no_grad()
def relative_distance(key: nn.Module, query: nn.Module) -> float:
    """Return the distance ||k - q|| / ||q|| of the parameters of two encoders."""
    q = nn.utils.parameters_to_vector(query.parameters())
    k = nn.utils.parameters_to_vector(key.parameters())
    return ((k - q).norm() / q.norm()).item()


def released_init(module: nn.Module) -> None:
    """Initialize a layer as the released code does: weights N(0, 0.02), biases zero.

    Batch-norm weights are drawn from N(1, 0.02).
    """
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
