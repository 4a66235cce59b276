"""The encoder of the paper: mmaction2's ST-GCN with the graph of the joint table and a wider last block."""
from __future__ import annotations

import torch
from mmaction.models.backbones.stgcn import STGCN, STGCNBlock
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.skeletons import get_layout


@MODELS.register_module()
class AimCLRSTGCN(STGCN):
    """ST-GCN of AimCLR: channels 16-16-16-16-32-32-32-64-64-256, strides 2 at blocks 5 and 8.

    Blocks 1 to 9 are mmaction2's ``STGCN`` with ``base_channels=16``; the last one leads to ``out_channels``, which
    mmaction2's options cannot express. Forward: (N, M, T, V, C) -> (N, M, out_channels, T', V), where T' is T
    halved twice, rounded up.

    Args:
        layout: joint layout; the graph is built from its edges and centre.
        out_channels: channels of the last block.
        base_channels: channels of the first four blocks.
        **kwargs: as for ``STGCN``, such as ``in_channels``, ``tcn_dropout`` (not used in block 1) or ``num_stages``.
    """

    def __init__(self, layout='ntu25', out_channels: int = 256, base_channels: int = 16, **kwargs) -> None:
        self.layout = get_layout(layout)
        graph_cfg = dict(layout=self.layout.graph(), mode='stgcn_spatial')
        super().__init__(graph_cfg=graph_cfg, base_channels=base_channels, **kwargs)
        last: STGCNBlock = self.gcn[-1]
        adjacency = torch.tensor(self.graph.A, dtype=torch.float32)
        self.gcn[-1] = STGCNBlock(last.gcn.in_channels, out_channels, adjacency, stride=last.tcn.stride,
                                  tcn_dropout=last.tcn.drop.p)
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (N, M, out_channels, T', V) of skeletons (N, M, T, V, C)."""
        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels != self.in_channels:
            raise ValueError(f'the encoder takes {self.layout.num_joints} joints (layout {self.layout.name!r}) with '
                             f'{self.in_channels} channels, but the data have {joints} joints with {channels}; set '
                             'layout and in_channels of the backbone to those of the data')
        return super().forward(x)
