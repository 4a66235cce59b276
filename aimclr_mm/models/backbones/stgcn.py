"""ST-GCN, the encoder of the paper: mmaction2's network with a wider last block."""

from __future__ import annotations

import torch
from mmaction.models.backbones.stgcn import STGCN, STGCNBlock
from mmaction.registry import MODELS
from torch import Tensor
from torch.func import functional_call

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

    def forward_joints(self, x: Tensor, joints: Tensor) -> Tensor:
        """Return the feature map (N, M, out_channels, T', J) of a part of the joints.

        The other joints are taken out of the graph after the first batch norm, with their edges.

        Args:
            x: (N, M, T, V, C) skeletons with all joints.
            joints: (J,) indices of the joints that stay.
        """
        self.check_input(x)
        n, m, frames, v, channels = x.shape
        rows = x.permute(0, 1, 3, 4, 2).reshape(n * m, v * channels, frames)
        y = self.data_bn(rows).view(n * m, v, channels, frames)
        y = y[:, joints].permute(0, 2, 3, 1)  # (N * M, C, T, J)

        for block in self.gcn:
            graph = {
                f'gcn.{name}': getattr(block.gcn, name)[:, joints][:, :, joints]
                for name in ('A', 'PA')
            }
            y = functional_call(block, graph, (y,))
        return y.unflatten(0, (n, m))

    def check_input(self, x: Tensor) -> None:
        """Raise ValueError unless x (N, M, T, V, C) has the joints and channels of the network."""
        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels != self.in_channels:
            raise ValueError(
                f'the encoder takes {self.layout.num_joints} joints (layout {self.layout.name!r}) '
                f'with {self.in_channels} channels, but the data have {joints} joints with '
                f'{channels}; set layout and in_channels of the backbone to those of the data'
            )
