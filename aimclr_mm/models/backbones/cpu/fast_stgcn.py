"""ST-GCN with channels last and fewer multiplications: a training step takes half the time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmaction.models.backbones.stgcn import STGCNBlock
from mmaction.models.utils import unit_gcn, unit_tcn
from mmaction.registry import MODELS
from torch import Tensor

from aimclr_mm.models.backbones.stgcn import AimCLRSTGCN
from aimclr_mm.utils.device import is_cpu

from .batch_norm import batch_norm, fold_batch_norm
from .dropout import dropout_add_relu
from .fft_conv import fft_conv, product_dtype, use_fft_conv

# C * C' up to which a graph convolution is one product per frame; 256 for other dtypes
NARROW_CPU = {torch.bfloat16: 1024}  # measured; bfloat16 on a CPU with AMX
NARROW_CUDA = {torch.bfloat16: 1024, torch.float16: 1024}  # from a roofline, not measured
NARROW = 256


@MODELS.register_module()
class FastSTGCN(AimCLRSTGCN):
    """:class:`AimCLRSTGCN` with a faster forward pass; same parameters, same checkpoints.

    The results are those of :class:`AimCLRSTGCN` up to the order of summation: graph convolutions
    are matrix products (:func:`graph_convolution`), long convolutions over time use the convolution
    theorem (:mod:`.fft_conv`), dropout draws single bits (:mod:`.dropout`), batch norms are folded
    into the weights in evaluation and accurate in training (:mod:`.batch_norm`), and in evaluation
    all absent people are computed once. It runs on CUDA, too.

    Args:
        **kwargs: as for :class:`AimCLRSTGCN`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature map (N, M, out_channels, T', V) of skeletons (N, M, T, V, C)."""
        self.check_input(x)
        people = x.flatten(0, 1)
        if self.training:  # dropout differs, and batch norm counts every person
            return self.encode(people).unflatten(0, x.shape[:2])
        if torch.compiler.is_compiling():  # the shapes of a graph must not depend on who is absent
            return super().forward(x)

        rows, place = distinct_people(people)
        return self.encode(people[rows])[place].unflatten(0, x.shape[:2])

    def encode(self, x: Tensor) -> Tensor:
        """Return the feature map (B, out_channels, T', V) of single people (B, T, V, C)."""
        people, frames, joints, channels = x.shape
        x = self.data_bn(x.permute(0, 2, 3, 1).reshape(people, joints * channels, frames))
        x = x.view(people, joints, channels, frames).permute(0, 2, 3, 1)  # (B, C, T, V)
        x = x.contiguous(memory_format=torch.channels_last)

        for block in self.gcn:
            if len(x) != 1 and use_fft_conv(block.tcn.conv, x):  # time first from here on
                x = x.permute(2, 0, 3, 1).flatten(1, 2)[None].permute(0, 3, 1, 2)
            x = forward_block(block, x)

        if len(x) != people:
            # squeeze, as the gradient of x[0] would be a copy of another layout
            x = x.squeeze(0).unflatten(2, (people, joints)).permute(2, 0, 1, 3)
        if x.requires_grad:
            # the gradient of a mean is one number with strides 0; write it once, in x's layout
            strides = x.stride()
            x.register_hook(lambda grad: grad.new_empty_strided(grad.shape, strides).copy_(grad))
        return x


def distinct_people(people: Tensor) -> tuple[Tensor, Tensor]:
    """Find the people to compute: all that are present, and one for all absent ones (all zeros).

    Args:
        people: (B, ...), B people.

    Returns:
        rows: (P,) indices of the people to compute, and
        place: (B,) for each person, the position of its result in ``rows``.
    """
    values = people.flatten(1)
    # faster on a CPU than values.eq(0).all(dim=1)
    absent = torch.maximum(values.amax(dim=1), -values.amin(dim=1)) == 0
    first = absent & (absent.cumsum(0) == 1)

    kept = ~absent | first
    place = kept.cumsum(0) - 1
    return kept.nonzero()[:, 0], torch.where(absent, place[first].sum(), place)


def forward_block(block: STGCNBlock, x: Tensor) -> Tensor:
    """Return ``block(x)`` of features (B, C, T, V) or, time first, (1, C, T, B * V)."""
    residual = block.residual
    if isinstance(residual, unit_tcn):
        residual = temporal_convolution(residual, x)
    else:
        residual = residual(x)  # x itself, or 0

    y = temporal_convolution(block.tcn, graph_convolution(block.gcn, x))
    return dropout_add_relu(y, residual, block.tcn.drop.p if block.training else 0.0)


def graph_convolution(unit: unit_gcn, x: Tensor) -> Tensor:
    """Return ``unit(x)`` with channels last, computed by matrix products.

    That is mmaction2's ``unit_gcn`` with adaptive='importance' and conv_pos='pre'. In narrow layers
    the 1x1 convolution and the sum over neighbors are a single (V * C', V * C) matrix, applied to
    every frame. In wide ones the sum over neighbors comes first, while there are few channels, and
    then the convolution; in the last block that takes an eighth of the multiplications.

    Args:
        unit: the graph convolution.
        x: (B, C, T, V) features; or, time first, (1, C, T, B * V).
    """
    adjacency = unit.A * unit.PA  # (S, V, W): S subsets, from joint v to w
    subsets, joints, _ = adjacency.shape
    channels, out = x.shape[1], unit.bn.num_features
    weight = unit.conv.weight.view(subsets, out, channels).transpose(0, 1)  # (C', S, C)
    bias = adjacency.sum(dim=1).T @ unit.conv.bias.view(subsets, out)  # (W, C')
    if not unit.training:
        weight, bias = fold_batch_norm(unit.bn, weight, bias)

    rows = x.permute(0, 2, 3, 1).reshape(-1, joints, channels)  # (B * T, V, C)
    narrow = NARROW_CPU if is_cpu(x) else NARROW_CUDA
    if channels * out <= narrow.get(product_dtype(x), NARROW):
        matrix = torch.einsum('kvw,okc->wovc', adjacency, weight)
        matrix = matrix.reshape(joints * out, joints * channels)
        y = F.linear(rows.flatten(1), matrix, bias.flatten())
    else:
        neighbors = adjacency.permute(2, 0, 1).reshape(joints * subsets, joints)  # rows (w, k)
        summed = torch.bmm(neighbors.to(product_dtype(x)).expand(len(rows), -1, -1), rows)
        summed = summed.view(-1, joints, subsets * channels)  # (B * T, W, S * C)
        y = torch.matmul(summed, weight.reshape(out, -1).t())
        y = y.add_(bias.to(y.dtype))

    y = y.view(x.shape[0], *x.shape[2:], out).permute(0, 3, 1, 2)
    return torch.relu_(batch_norm(unit.bn, y) if unit.training else y)


def temporal_convolution(unit: unit_tcn, x: Tensor) -> Tensor:
    """Return ``unit(x)`` without its dropout: convolution over time and batch norm.

    Args:
        unit: the temporal unit.
        x: (B, C, T, V) features; or, time first, (1, C, T, B * V).
    """
    conv, bn = unit.conv, unit.bn
    weight, bias = conv.weight, conv.bias
    if not unit.training:
        weight, bias = fold_batch_norm(bn, weight, bias)

    if conv.kernel_size == (1, 1):
        y = pointwise_conv(x, weight, bias, conv.stride[0])
    elif len(x) == 1 and use_fft_conv(conv, x):
        y = fft_conv(x, weight, bias)
    else:
        y = F.conv2d(x, weight, bias, conv.stride, conv.padding)
    return batch_norm(bn, y) if unit.training else y


def pointwise_conv(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Return a 1x1 convolution of every ``stride``-th frame: (B, C, T, V) -> (B, C', T', V).

    It is a matrix product because PyTorch's convolution, channels last with stride 2 and fewer than
    8 channels, writes out of bounds in the backward pass on CPUs without AVX-512 (oneDNN's AVX2
    kernels, PyTorch 2.13).
    """
    rows = x[:, :, ::stride].permute(0, 2, 3, 1)  # (B, T', V, C)
    y = F.linear(rows.flatten(0, 2), weight[:, :, 0, 0], bias)
    return y.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)
