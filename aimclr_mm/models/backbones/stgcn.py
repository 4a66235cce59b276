"""The encoder of the paper: mmaction2's ST-GCN with the graph of the joint table and a wider last block."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmaction.models.backbones.stgcn import STGCN, STGCNBlock
from mmaction.models.utils import unit_gcn, unit_tcn
from mmaction.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aimclr_mm.models.backbones.cpu.fft_conv import convolve, worthwhile
from aimclr_mm.models.backbones.cpu.products import linear, matmul, precision
from aimclr_mm.skeletons import get_layout
from aimclr_mm.transforms.functional import distinct_people

NARROW = 256  # C * C' up to which one matrix a frame is faster, measured on CPUs
NARROW_BFLOAT16 = 1024  # the same in bfloat16, measured on one with AMX


def affine(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) of a batch norm in evaluation."""
    scale = bn.weight * (bn.running_var + bn.eps).rsqrt()
    return scale, bn.bias - bn.running_mean * scale


def graph_convolution(unit: unit_gcn, x: Tensor) -> Tensor:
    """mmaction2's ``unit_gcn`` (adaptive='importance', conv_pos='pre') with channels last, as matrix products.

    Both ways compute the same; their cost differs. Narrow layers: 1x1 convolution and sum over neighbours are one
    (V * C, V * C') matrix for a frame. Wide ones: first the sum over neighbours, while there are few channels, then
    the convolution; in the last block that takes an eighth of the multiplications. In evaluation the batch norm is
    part of the weights.

    Args:
        unit: the graph convolution.
        x: (B, C, T, V) features; or, time first, (1, C, T, B * V).
    """
    adjacency = unit.A * unit.PA  # (S, V, W)
    (subsets, joints, _), channels, out = adjacency.shape, x.shape[1], unit.bn.num_features
    weight = unit.conv.weight.view(subsets, out, channels)
    bias = adjacency.sum(dim=1).T @ unit.conv.bias.view(subsets, out)  # (W, C')
    if not unit.training:
        scale, shift = affine(unit.bn)
        weight, bias = weight * scale[:, None], bias * scale + shift
    rows = x.permute(0, 2, 3, 1).reshape(-1, joints, channels)  # (B * T, V, C)
    if channels * out <= (NARROW_BFLOAT16 if precision(x) == torch.bfloat16 else NARROW):
        matrix = torch.einsum('kvw,koc->vcwo', adjacency, weight).reshape(
            joints * channels, joints * out
        )
        y = matmul(rows.flatten(1), matrix, bias.flatten())
    else:
        neighbors = (
            adjacency.permute(2, 0, 1).reshape(joints * subsets, joints).to(precision(x))
        )  # rows by (w, k)
        summed = torch.bmm(neighbors.expand(len(rows), -1, -1), rows)
        y = matmul(
            summed.view(-1, subsets * channels), weight.transpose(1, 2).reshape(-1, out), bias
        )
    y = y.view(x.shape[0], *x.shape[2:], out).permute(0, 3, 1, 2)
    return torch.relu_(unit.bn(y) if unit.training else y)


def temporal_convolution(unit: unit_tcn, x: Tensor, spectral: bool) -> Tensor:
    """mmaction2's ``unit_tcn`` without its dropout: convolution over time and, while training, batch norm.

    Args:
        unit: the temporal unit.
        x: (B, C, T, V) features; or, time first, (1, C, T, B * V).
        spectral: whether :func:`~aimclr_mm.models.backbones.cpu.fft_conv.convolve` may be used.
    """
    conv, bn = unit.conv, unit.bn
    weight, bias = conv.weight, conv.bias
    if not unit.training:
        scale, shift = affine(bn)
        weight, bias = weight * scale[:, None, None, None], bias * scale + shift
    if conv.kernel_size == (1, 1):
        y = pointwise(x, weight, bias, conv.stride[0])
    elif spectral and len(x) == 1 and worthwhile(conv, x):
        y = convolve(x, weight, bias)
    else:
        y = F.conv2d(x, weight, bias, conv.stride, conv.padding)
    return bn(y) if unit.training else y


def pointwise(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """A 1x1 convolution of every ``stride``-th frame as a matrix product; (B, C, T, V) -> (B, C', T', V).

    torch's own, channels last with stride 2 and fewer than 8 channels, writes beyond its memory in the backward pass
    on CPUs without AVX-512 (oneDNN's AVX2 kernels, torch 2.13).
    """
    rows = x[:, :, ::stride].permute(0, 2, 3, 1)  # (B, T', V, C)
    return linear(rows, weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)


def bernoulli_mask(shape: torch.Size, kept: int) -> Tensor:
    """Zeros and ones (uint8), each one with probability kept / 65536, on the CPU.

    As many random bits an element as the probability has binary digits: with digits b_1 ... b_d (the last one is 1) of
    d random bits r_i, m_i = r_i | m_(i+1) where b_i is 1 and r_i & m_(i+1) where it is 0, from m_(d+1) = 0; then m_1 is
    the element. A half takes one bit, where torch draws a number.

    Args:
        shape: of the mask.
        kept: from 1 to 65535.
    """
    words = (shape.numel() + 63) // 64
    mask = torch.zeros(words, dtype=torch.long)
    for digit in f'{kept:016b}'.rstrip('0')[::-1]:
        bits = torch.empty(words, dtype=torch.long).random_(-(2**63), None)
        mask = bits | mask if digit == '1' else bits & mask
    ones = (mask >> torch.arange(8)[:, None]).bitwise_and_(
        0x0101010101010101
    )  # a byte for each bit
    return ones.view(torch.uint8).flatten()[: shape.numel()].view(shape)


def dropout_mask(x: Tensor, p: float) -> Tensor:
    """Mask of a dropout on the CPU in x's type and order of memory: zeros, and ones over the probability of them.

    Drawing the masks with torch's dropout takes a CPU about an eighth of a training step.

    Args:
        x: (B, C, T, V), channels last.
        p: probability of a zero, rounded to 1/65536.
    """
    kept = round((1 - p) * 65536)
    mask = bernoulli_mask(x.permute(0, 2, 3, 1).shape, kept).permute(0, 3, 1, 2)
    return mask.to(x.dtype).mul_(65536 / kept)


class _DropAddReLU(torch.autograd.Function):
    """``relu(y * mask + residual)``, in two passes over memory where torch takes three."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, mask: Tensor, residual: Tensor) -> Tensor:
        x = torch.addcmul(residual, y, mask).relu_()
        ctx.save_for_backward(x, mask)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mask = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, x, 0)
        return grad * mask, None, grad if ctx.needs_input_grad[2] else None


def join(y: Tensor, residual: Tensor | int, p: float) -> Tensor:
    """End of a block, ``relu(dropout(y, p) + residual)``; y is written into.

    Args:
        y: (B, C, T, V), channels last.
        residual: the same, or 0.
        p: probability with which an element of y becomes zero.
    """
    if y.device.type != 'cpu' or not 2**-17 < p < 1 - 2**-17:
        return torch.relu_(F.dropout(y, p, inplace=True).add_(residual))
    mask = dropout_mask(y, p)
    residual = residual.to(y.dtype) if isinstance(residual, Tensor) else y.new_zeros(())
    return _DropAddReLU.apply(y, mask, residual)


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
        spectral: in the fused computation, convolve over time by the convolution theorem where that takes a CPU less
            time (see :mod:`~aimclr_mm.models.backbones.cpu.fft_conv`).
        in_channels: channels of the data.
        tcn_dropout: dropout of every temporal unit but the first.
    """

    def __init__(
        self,
        layout='ntu25',
        out_channels: int = 256,
        base_channels: int = 16,
        in_channels: int = 3,
        tcn_dropout: float = 0.5,
        fused: bool = True,
        spectral: bool = True,
    ) -> None:
        self.layout = get_layout(layout)
        graph_cfg = dict(layout=self.layout.graph(), mode='stgcn_spatial')
        super().__init__(
            graph_cfg=graph_cfg,
            in_channels=in_channels,
            base_channels=base_channels,
            tcn_dropout=tcn_dropout,
        )
        last: STGCNBlock = self.gcn[-1]
        adjacency = torch.tensor(self.graph.A, dtype=torch.float32)
        self.gcn[-1] = STGCNBlock(
            last.gcn.in_channels,
            out_channels,
            adjacency,
            stride=last.tcn.stride,
            tcn_dropout=tcn_dropout,
        )
        self.out_channels, self.fused, self.spectral = out_channels, fused, spectral

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (N, M, out_channels, T', V) of skeletons (N, M, T, V, C)."""
        joints, channels = x.shape[-2:]
        if joints != self.layout.num_joints or channels != self.in_channels:
            raise ValueError(
                f'the encoder takes {self.layout.num_joints} joints (layout {self.layout.name!r}) with '
                f'{self.in_channels} channels, but the data have {joints} joints with {channels}; set '
                'layout and in_channels of the backbone to those of the data'
            )
        if not self.fused:
            return super().forward(x)
        people = x.flatten(0, 1)
        if self.training:
            return self.encode(people).unflatten(0, x.shape[:2])
        rows, place = distinct_people(people)  # absent people have one and the same result
        return self.encode(people[rows])[place].unflatten(0, x.shape[:2])

    def encode(self, x: Tensor) -> Tensor:
        """Feature map (B, out_channels, T', V) of single people (B, T, V, C)."""
        people, frames, joints, channels = x.shape
        x = self.data_bn(x.permute(0, 2, 3, 1).reshape(people, joints * channels, frames))
        x = x.view(people, joints, channels, frames).permute(0, 2, 3, 1)  # (B, C, T, V)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.gcn:
            if (
                self.spectral and len(x) == people and worthwhile(block.tcn.conv, x)
            ):  # time first from here on
                x = x.permute(2, 0, 3, 1).reshape(1, x.shape[2], -1, x.shape[1]).permute(0, 3, 1, 2)
            residual = block.residual
            residual = (
                temporal_convolution(residual, x, False)
                if isinstance(residual, unit_tcn)
                else residual(x)
            )
            y = temporal_convolution(block.tcn, graph_convolution(block.gcn, x), self.spectral)
            x = join(y, residual, block.tcn.drop.p if self.training else 0.0)
        x = (
            x
            if len(x) == people
            else x.squeeze(0).unflatten(2, (people, joints)).permute(2, 0, 1, 3)
        )
        if (
            x.requires_grad
        ):  # the gradient of a sum is one number spread out; it is written out once, in x's order
            strides = x.stride()
            x.register_hook(lambda grad: grad.new_empty_strided(grad.shape, strides).copy_(grad))
        return x
