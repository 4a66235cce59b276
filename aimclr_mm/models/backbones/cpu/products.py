"""Matrix products in float32 by oneDNN on AMD's CPUs: torch itself gives them to MKL, which is slower there.

MKL takes AVX2 on AMD's CPUs also where there is AVX-512; oneDNN, which computes torch's convolutions, takes what the
CPU has. On Intel's MKL is the faster one. ``torch.backends.mkldnn.enabled = False`` switches this off.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aimclr_mm.utils.processor import processor

PRODUCT = getattr(torch.ops.mkldnn, '_linear_pointwise', None)  # what torch.compile calls on a CPU
USABLE = PRODUCT is not None and processor().vendor == 'AuthenticAMD'


def precision(x: Tensor) -> torch.dtype:
    """The type in which a product with x is computed: that of autocast where it is on, else that of x."""
    return (
        torch.get_autocast_dtype(x.device.type)
        if torch.is_autocast_enabled(x.device.type)
        else x.dtype
    )


def usable(*tensors: Tensor) -> bool:
    """Whether oneDNN multiplies these: not empty, in float32, on an AMD CPU, outside of autocast."""
    return (
        USABLE
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled('cpu')
        and all(
            x.dtype == torch.float32 and x.device.type == 'cpu' and x.numel() > 0 for x in tensors
        )
    )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a @ b + bias``, without gradient."""
    if usable(a, b):
        return PRODUCT(a, b.t(), bias, 'none', [], '')
    return a @ b if bias is None else torch.addmm(bias, a, b)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """``a.T @ b`` of long matrices (M, K) and (M, N), without gradient; oneDNN wants the narrow one first."""
    return _product(a.t(), b) if a.shape[1] < b.shape[1] else _product(b.t(), a).t()


def _products(a: Tensor, b: Tensor) -> Tensor:
    """(P, M, K) @ (P, K, N), without gradient."""
    return torch.stack([_product(x, y) for x, y in zip(a, b)]) if usable(a, b) else torch.bmm(a, b)


class _Product(torch.autograd.Function):
    """(M, K) @ (K, N) + (N,), or + (R, N) that rows take in turn."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.shape = None if bias is None else bias.shape
        if bias is None or bias.dim() == 1:
            return _product(a, b, bias)
        y = _product(a, b)
        y.view(-1, *bias.shape).add_(
            bias
        )  # outside of a function torch would copy the gradient of a view
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (a, b), wanted = ctx.saved_tensors, ctx.needs_input_grad
        return (
            _product(grad, b.t()) if wanted[0] else None,
            _inner(a, grad) if wanted[1] else None,
            grad.reshape(-1, *ctx.shape).sum(dim=0) if wanted[2] else None,
        )


class _Products(torch.autograd.Function):
    """(P, M, K) @ (P, K, N), and + (N,) to the first of the P."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, first: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        products = _products(a, b)
        products[0] += first
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (a, b), wanted = ctx.saved_tensors, ctx.needs_input_grad
        return (
            _products(grad, b.transpose(1, 2)) if wanted[0] else None,
            _products(a.transpose(1, 2), grad) if wanted[1] else None,
            grad[0].sum(dim=0) if wanted[2] else None,
        )


def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a @ b + bias`` of matrices (M, K) and (K, N); differentiable once.

    Args:
        a, b: the matrices.
        bias: (N,); or (R, N), of which row r comes to the rows r, r + R, ... of the product. M is a multiple of R.
    """
    dtype = precision(a)
    return _Product.apply(a.to(dtype), b.to(dtype), None if bias is None else bias.to(dtype))


def bmm(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    """``torch.bmm`` of few large matrices (P, M, K) and (P, K, N), + first (N,) in place 0; differentiable once."""
    return _Products.apply(a, b, first)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` of (..., K) and (N, K); differentiable once."""
    return matmul(x.reshape(-1, x.shape[-1]), weight.t(), bias).view(*x.shape[:-1], len(weight))
