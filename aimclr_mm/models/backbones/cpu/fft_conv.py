"""Convolution over time by the convolution theorem: fewer multiplications than frames times taps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from .products import bmm, matmul, precision

WORTH = (
    0.4  # share of the direct multiplications up to which the detour is faster, measured on a CPU
)


@lru_cache(maxsize=64)
def transforms(
    frames: int, taps: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices X, W, Y with ``y = Y @ ((W @ w) * (X @ x))`` for the convolution of ``frames`` values x by taps w.

    A discrete Fourier transform of n = T + taps // 2 places: what reaches beyond the T frames wraps around to places
    that nobody reads, so that n need not be longer. A transform of real numbers has one real and (n - 1) / 2 complex
    values (for even n one more real one), and a complex product takes three real ones (Gauss): with
    k = c (a + b), (a + ib)(c + id) = k - b (c + d) + i (k + a (d - c)). All sums and signs are part of the matrices;
    P = about 1.5 n products remain in place of T * taps.

    Args:
        frames: T.
        taps: odd number of weights; outside of its frames x is zero, as with a padding of taps // 2.
        dtype: of the matrices.

    Returns:
        (P, T), (P, taps) and (T, P).
    """
    n = frames + taps // 2
    time, offset = np.arange(frames), np.arange(taps) - taps // 2
    angle = 2 * np.pi / n * np.arange(1, (n + 1) // 2)[:, None]
    cos, sin, c, d = (
        np.cos(angle * time),
        np.sin(angle * time),
        np.cos(angle * offset),
        np.sin(angle * offset),
    )
    rows = [
        (np.ones((1, frames)), np.ones((1, taps)), np.full((1, frames), 0.5)),  # of X, W and Y
        (cos - sin, c, cos - sin),
        (-sin, c + d, -cos),
        (cos, d - c, -sin),
    ]
    if n % 2 == 0:
        rows.append(((-1.0) ** time[None], (-1.0) ** offset[None], 0.5 * (-1.0) ** time[None]))
    x, w, y = (torch.from_numpy(np.concatenate(part)) for part in zip(*rows))
    with torch.inference_mode(False):  # they are kept, for training too
        return x.to(dtype), w.to(dtype), (2 / n * y.T).to(dtype)


def worthwhile(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether :func:`convolve` is faster than torch's convolution of x (B, C, T, V).

    Counts multiplications: 1.5 (T + taps / 2) products of a pair of channels, with transforms before and after,
    against T * taps. Only on a CPU: elsewhere torch's own has not been beaten. In bfloat16 the detour's rounding is
    1.8 times that of the direct convolution: it is taken in training only, and where the CPU has fast products.
    """
    frames, (taps, width), out = x.shape[2], conv.kernel_size, conv.out_channels
    if (
        x.device.type != 'cpu'
        or conv.stride != (1, 1)
        or width != 1
        or conv.padding != (taps // 2, 0)
        or taps == 1
    ):
        return False
    dtype = precision(x)
    if dtype not in (torch.float32, torch.float64) and not (
        dtype == torch.bfloat16 and conv.training and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        return False
    products = 1.5 * (frames + taps // 2) * (1 + frames / out + frames / conv.in_channels)
    return products < WORTH * frames * taps


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``F.conv2d(x, weight, bias, padding=(taps // 2, 0))`` as four matrix products; see :func:`transforms`.

    Args:
        x: (1, C, T, R), channels last: R signals of C channels.
        weight: (C', C, taps, 1), taps odd.
        bias: (C',).

    Returns:
        (1, C', T, R), channels last, in the precision of autocast where that is on.
    """
    (_, channels, frames, signals), (out, _, taps, _) = x.shape, weight.shape
    dtype = precision(x)
    with torch.autocast(x.device.type, enabled=False):
        to_x, to_w, to_y = transforms(frames, taps, weight.dtype)
        weights = (to_w @ weight.permute(2, 3, 1, 0).reshape(taps, channels * out)).to(dtype)
        to_x, to_y, rows = (part.to(dtype) for part in (to_x, to_y, x.squeeze(0).permute(1, 2, 0)))
        spectrum = matmul(to_x, rows.reshape(frames, signals * channels)).view(
            -1, signals, channels
        )
        constant = bias * (
            frames + taps // 2
        )  # the first value of a transform is the sum over all n places
        products = bmm(spectrum, weights.view(-1, channels, out), constant.to(dtype))  # (P, R, C')
        y = matmul(to_y, products.view(-1, signals * out))
    return y.view(1, frames, signals, out).permute(0, 3, 1, 2)
