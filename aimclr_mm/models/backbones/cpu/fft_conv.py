"""Convolution over time by the convolution theorem: a quarter of the products in block 10."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from aimclr_mm.utils.device import is_cpu

# share of the direct multiplications up to which the transforms pay off, measured on CPUs
MAX_SHARE = 0.4


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of a matrix product with x: that of autocast where it is on."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


@lru_cache(maxsize=64)
def transforms(
    frames: int, taps: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Return matrices X, W, Y with ``y = Y @ ((W @ w) * (X @ x))``, the convolution of x by w.

    They are discrete Fourier transforms of length n = T + taps // 2: what reaches beyond the T
    frames wraps around to places that are not read, so that n need not be larger. A transform of
    real values has one real and (n - 1) / 2 complex values (one more real one for even n), and a
    complex product takes three real ones (Gauss): with k = c (a + b),
    (a + ib)(c + id) = k - b (c + d) + i (k + a (d - c)). All sums and signs are part of the
    matrices. P = about 1.5 n products remain instead of T * taps.

    Args:
        frames: T, length of x.
        taps: odd length of w; x is padded with taps // 2 zeros at both ends.
        dtype: of the matrices.

    Returns:
        X (P, T), W (P, taps) and Y (T, P).
    """
    n = frames + taps // 2
    time, offset = np.arange(frames), np.arange(taps) - taps // 2
    angle = 2 * np.pi / n * np.arange(1, (n + 1) // 2)[:, None]
    cos, sin = np.cos(angle * time), np.sin(angle * time)
    c, d = np.cos(angle * offset), np.sin(angle * offset)

    rows = [  # of X, W and the transpose of Y
        (np.ones((1, frames)), np.ones((1, taps)), np.full((1, frames), 0.5)),
        (cos - sin, c, cos - sin),
        (-sin, c + d, -cos),
        (cos, d - c, -sin),
    ]
    if n % 2 == 0:
        rows.append(((-1.0) ** time[None], (-1.0) ** offset[None], 0.5 * (-1.0) ** time[None]))

    x, w, y = (torch.from_numpy(np.concatenate(part)) for part in zip(*rows))
    with torch.inference_mode(False):  # the cached matrices serve training too
        return x.to(dtype), w.to(dtype), (2 / n * y.T).to(dtype)


def use_fft_conv(conv: nn.Conv2d, x: Tensor) -> bool:
    """Return whether :func:`fft_conv` is faster than PyTorch's convolution of x (B, C, T, V).

    Counts multiplications for a pair of channels: 1.5 (T + taps / 2) products and the transforms
    against T * taps. CPU only. In bfloat16 the rounding error is 1.8 times that of the direct
    convolution: there it is used in training only, and if the CPU multiplies in bfloat16.
    """
    taps, width = conv.kernel_size
    if not is_cpu(x) or taps == 1 or width != 1:
        return False
    if conv.stride != (1, 1) or conv.padding != (taps // 2, 0):
        return False

    dtype = product_dtype(x)
    if dtype == torch.bfloat16:
        if not conv.training or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
    elif dtype not in (torch.float32, torch.float64):
        return False

    frames = x.shape[2]
    transformed = 1 + frames / conv.out_channels + frames / conv.in_channels
    return 1.5 * (frames + taps // 2) * transformed < MAX_SHARE * frames * taps


def fft_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``F.conv2d(x, weight, bias, padding=(taps // 2, 0))`` as four matrix products.

    Args:
        x: (1, C, T, R), channels last: R signals with C channels.
        weight: (C', C, taps, 1), taps odd.
        bias: (C',).

    Returns:
        (1, C', T, R), channels last, in the dtype of autocast where it is on.
    """
    _, channels, frames, signals = x.shape
    out, _, taps, _ = weight.shape
    dtype = product_dtype(x)

    with torch.autocast(x.device.type, enabled=False):
        to_x, to_w, to_y = transforms(frames, taps, weight.dtype)
        weights = (to_w @ weight.permute(2, 3, 1, 0).reshape(taps, channels * out)).to(dtype)
        rows = x.to(dtype).squeeze(0).permute(1, 2, 0).reshape(frames, signals * channels)

        spectrum = (to_x.to(dtype) @ rows).view(-1, signals, channels)  # (P, R, C)
        products = torch.bmm(spectrum, weights.view(-1, channels, out))  # (P, R, C')
        biases = bias.to(dtype).repeat(signals)
        y = torch.addmm(biases, to_y.to(dtype), products.view(-1, signals * out))
    return y.view(1, frames, signals, out).permute(0, 3, 1, 2)
