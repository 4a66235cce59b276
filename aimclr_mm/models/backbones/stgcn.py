"""ST-GCN, the encoder of the paper: mmaction2's network with a wider last block."""

from __future__ import annotations

import torch
from mmaction.models.backbones.stgcn import STGCN, STGCNBlock
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.skeletons import LayoutLike, get_layout


@MODELS.register_module()
class AimCLRSTGCN(STGCN):
    """ST-GCN of AimCLR: channels 16-16-16-16-32-32-32-64-64-256, strides 2 at blocks 5 and 8.

    Blocks 1 to 9 are mmaction2's ``STGCN`` with ``base_channels=16``. The last one maps to
    ``out_channels``, which the options of mmaction2 cannot express.

    Args:
        layout: joint layout of the data; its edges and its center define the graph.
        out_channels: channels of the last block.
        base_channels: channels of the first four blocks.
        in_channels: channels of the data.
        tcn_dropout: dropout probability of every temporal unit except the first.
    """

    def __init__(
        self,
        layout: LayoutLike = 'ntu25',
        out_channels: int = 256,
        base_channels: int = 16,
        in_channels: int = 3,
        tcn_dropout: float = 0.5,
    ) -> None:
        self.layout = get_layout(layout)
        super().__init__(
            graph_cfg=dict(layout=self.layout.graph(), mode='stgcn_spatial'),
            in_channels=in_channels,
            base_channels=base_channels,
            tcn_dropout=tcn_dropout,
        )

        last: STGCNBlock = self.gcn[-1]
        self.gcn[-1] = STGCNBlock(
            last.gcn.in_channels,
            out_channels,
            torch.tensor(self.graph.A, dtype=torch.float32),
            stride=last.tcn.stride,
            tcn_dropout=tcn_dropout,
        )
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature map (N, M, out_channels, T', V) of skeletons (N, M, T, V, C).

        T' is T halved twice, rounded up.
        """
        self.check_input(x)
        return super().forward(x)

    def check_input(self, x: Tensor) -> None:
        """Raise ValueError unless x (N, M, T, V, C) has the joints and channels of the network."""
        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels != self.in_channels:
            raise ValueError(
                f'the encoder takes {self.layout.num_joints} joints (layout {self.layout.name!r}) '
                f'with {self.in_channels} channels, but the data have {joints} joints with '
                f'{channels}; set layout and in_channels of the backbone to those of the data'
            )
