"""Encoder = backbone f and projection head g; the key encoder is a slow copy of it."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .losses import unit_vectors


def pool(feature_map: Tensor) -> Tensor:
    """Representation h (N, C): mean of a map (N, M, C, T, V) over frames and joints, then over people.

    An absent second person counts as a person, as in the paper's code.
    """
    frames, joints = feature_map.shape[3:]
    exact = torch.promote_types(feature_map.dtype, torch.float32)
    rows = feature_map.permute(
        0, 1, 3, 4, 2
    )  # as they lie in memory: joints before frames is fastest
    h = rows.sum(dim=3, dtype=exact).sum(dim=2) / (
        frames * joints
    )  # the gradient of a mean is a map written out
    return h.mean(dim=1).to(feature_map.dtype)


def attach_features(features: Tensor, data_samples: list) -> list:
    """Sets ``feature`` of each data sample to its representation, averaged over its clips.

    Args:
        features: (N * clips, C) representations.
        data_samples: N data samples of mmaction2.
    """
    features = features.float().view(len(data_samples), -1, features.shape[1]).mean(dim=1).cpu()
    for sample, feature in zip(data_samples, features):
        sample.set_field(feature, 'feature')
    return data_samples


@MODELS.register_module()
class ProjectionHead(BaseModule):
    """The MLP head g: Linear, ReLU, Linear.

    Args:
        in_channels: channels of the backbone's features.
        hidden_channels: width of the hidden layer.
        out_channels: D, size of the embedding.
    """

    def __init__(
        self,
        in_channels: int = 256,
        hidden_channels: int = 256,
        out_channels: int = 128,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = out_channels
        self.fc = nn.Sequential(
            nn.Linear(in_channels, hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, out_channels),
        )

    def forward(self, h: Tensor) -> Tensor:
        """(N, in_channels) -> (N, out_channels)."""
        if h.shape[1] != self.fc[0].in_features:
            raise ValueError(
                f'the head takes {self.fc[0].in_features} channels, but the backbone gives {h.shape[1]}; '
                'set in_channels of the head to out_channels of the backbone'
            )
        return self.fc(h)


class Encoder(BaseModule):
    """Backbone and projection head.

    Args:
        backbone: config of the backbone; it maps (N, M, T, V, C) to (N, M, C', T', V).
        head: config of the projection head.
    """

    def __init__(self, backbone: dict, head: dict) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head)

    def project(self, feature_map: Tensor) -> Tensor:
        """Unit embeddings z (N, D) of a feature map (N, M, C, T, V); normalised in float32."""
        return unit_vectors(self.head(pool(feature_map)))

    def forward(self, x: Tensor) -> Tensor:
        """Unit embeddings z (N, D) of skeletons (N, M, T, V, C)."""
        return self.project(self.backbone(x))


@torch.no_grad()
def momentum_update(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """Moves the key encoder's parameters towards the query encoder's (Eq. 2): k <- m k + (1 - m) q.

    mmengine's ``ExponentialMovingAverage`` is not used because it copies at its first update and overwrites the key
    encoder's own batch-norm statistics.

    Args:
        momentum: m, weight of the old value, in [0, 1].
    """
    torch._foreach_lerp_(list(key.parameters()), list(query.parameters()), 1 - momentum)


@torch.no_grad()
def relative_distance(key: nn.Module, query: nn.Module) -> float:
    """Distance ||k - q|| / ||q|| of the parameters of two encoders."""
    q = torch.cat([p.flatten() for p in query.parameters()])
    k = torch.cat([p.flatten() for p in key.parameters()])
    return ((k - q).norm() / q.norm()).item()


def released_init(module: nn.Module) -> None:
    """The released code's initialisation: weights N(0, 0.02), batch-norm weights N(1, 0.02), biases zero."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
