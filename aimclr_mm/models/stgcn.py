"""The encoder of the paper: mmaction2's ST-GCN with the graph of the joint table and a wider last block."""
from __future__ import annotations

import torch
from mmaction.models.backbones.stgcn import STGCN, STGCNBlock
from mmaction.models.utils import unit_gcn
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.skeletons import get_layout


def graph_convolution(unit: unit_gcn, x: Tensor) -> Tensor:
    """mmaction2's ``unit_gcn`` (adaptive='importance', conv_pos='pre') as one matrix product a frame.

    The 1x1 convolution and the sum over neighbours are both linear in a frame's V * C numbers, so that their product
    is one (V * C, V * C') matrix. With channels last the product needs no copy of the features.

    Args:
        unit: the graph convolution.
        x: (B, C, T, V) features.
    """
    batch, channels, frames, joints = x.shape
    adjacency = unit.A * unit.PA                                                           # (S, V, W)
    subsets, out = len(adjacency), unit.bn.num_features
    weight = unit.conv.weight.view(subsets, out * channels)
    matrix = (weight.T @ adjacency.flatten(1)).view(out, channels, joints, joints)         # (C', C, V, W)
    matrix = matrix.permute(2, 1, 3, 0).reshape(joints * channels, joints * out)
    bias = adjacency.sum(dim=1).T @ unit.conv.bias.view(subsets, out)                      # (W, C')
    rows = x.permute(0, 2, 3, 1).reshape(batch * frames, joints * channels)
    y = torch.addmm(bias.flatten(), rows, matrix).view(batch, frames, joints, out)
    return unit.act(unit.bn(y.permute(0, 3, 1, 2)))


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
        fused: compute with channels last and each graph convolution as one matrix product (see
            :func:`graph_convolution`): same parameters, same result up to the order of summation.
        in_channels: channels of the data.
        tcn_dropout: dropout of every temporal unit but the first.
    """

    def __init__(self, layout='ntu25', out_channels: int = 256, base_channels: int = 16, in_channels: int = 3,
                 tcn_dropout: float = 0.5, fused: bool = True) -> None:
        self.layout = get_layout(layout)
        graph_cfg = dict(layout=self.layout.graph(), mode='stgcn_spatial')
        super().__init__(graph_cfg=graph_cfg, in_channels=in_channels, base_channels=base_channels,
                         tcn_dropout=tcn_dropout)
        last: STGCNBlock = self.gcn[-1]
        adjacency = torch.tensor(self.graph.A, dtype=torch.float32)
        self.gcn[-1] = STGCNBlock(last.gcn.in_channels, out_channels, adjacency, stride=last.tcn.stride,
                                  tcn_dropout=tcn_dropout)
        self.out_channels, self.fused = out_channels, fused

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (N, M, out_channels, T', V) of skeletons (N, M, T, V, C)."""
        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels != self.in_channels:
            raise ValueError(f'the encoder takes {self.layout.num_joints} joints (layout {self.layout.name!r}) with '
                             f'{self.in_channels} channels, but the data have {joints} joints with {channels}; set '
                             'layout and in_channels of the backbone to those of the data')
        if not self.fused:
            return super().forward(x)
        n, m, t = x.shape[:3]
        x = self.data_bn(x.permute(0, 1, 3, 4, 2).reshape(n * m, joints * channels, t))
        x = x.view(n * m, joints, channels, t).permute(0, 2, 3, 1)                         # (N * M, C, T, V)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.gcn:
            x = block.relu(block.tcn(graph_convolution(block.gcn, x)) + block.residual(x))
        return x.unflatten(0, (n, m))
