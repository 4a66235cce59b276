"""Convolution by the convolution theorem against PyTorch's convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aimclr_mm.models import FastSTGCN
from aimclr_mm.models.backbones.cpu import fast_stgcn
from aimclr_mm.models.backbones.cpu.fft_conv import fft_conv, transforms, use_fft_conv


def temporal_conv(channels: int = 64, stride: int = 1, taps: int = 9) -> nn.Conv2d:
    """Return a convolution over time with as many input as output channels."""
    return nn.Conv2d(channels, channels, (taps, 1), (stride, 1), (taps // 2, 0))


@pytest.mark.parametrize('frames', [1, 2, 13, 16, 25])
@pytest.mark.parametrize('taps', [3, 9])
def test_convolution_and_its_gradients_match_conv2d(frames, taps):
    torch.manual_seed(0)
    x = torch.randn(1, 3, frames, 7, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(5, 3, taps, 1, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)

    y = fft_conv(x, weight, bias)
    expected = F.conv2d(x.contiguous(), weight, bias, padding=(taps // 2, 0))
    torch.testing.assert_close(y, expected)

    grad = torch.randn_like(expected)
    inputs = (x, weight, bias)
    found, reference = (torch.autograd.grad(z, inputs, grad) for z in (y, expected))
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b)


def test_float32_loses_no_precision():
    torch.manual_seed(0)
    x = torch.randn(1, 64, 13, 50).contiguous(memory_format=torch.channels_last)
    conv = temporal_conv()
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=(4, 0))
    error = (fft_conv(x, conv.weight, conv.bias) - exact).abs().max() / exact.abs().max()
    assert error < 1e-5


# n = 17: 1 + 3 * 8; n = 20: 2 + 3 * 9
@pytest.mark.parametrize('frames, products', [(13, 25), (16, 29)])
def test_number_of_products(frames, products):
    to_x, to_w, to_y = transforms(frames, 9)
    assert to_x.shape == (products, frames)
    assert to_w.shape == (products, 9)
    assert to_y.shape == (frames, products)


def test_matrices_cached_in_inference_mode_serve_training():
    conv, x = temporal_conv(4), torch.randn(1, 4, 37, 2)
    with torch.inference_mode():
        fft_conv(x, conv.weight, conv.bias)
    fft_conv(x.clone(), conv.weight, conv.bias).sum().backward()
    assert conv.weight.grad.any()


@pytest.mark.parametrize(
    'conv, frames, expected',
    [
        (temporal_conv(256), 13, True),
        (temporal_conv(64), 13, True),
        (temporal_conv(64, stride=2), 25, False),
        (temporal_conv(32), 25, False),
        (temporal_conv(16), 50, False),
        (temporal_conv(64, taps=1), 13, False),
    ],
)
def test_layers_that_use_it(conv, frames, expected):
    assert use_fft_conv(conv, torch.empty(1, conv.in_channels, frames, 25)) is expected


@pytest.mark.parametrize('fast', [False, True])
@pytest.mark.parametrize('training', [False, True])
def test_half_precision(training, fast, monkeypatch):
    """bfloat16 uses it in training on a CPU with bfloat16 products, float16 never."""
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: fast)
    conv, x = temporal_conv().train(training), torch.empty(1, 64, 13, 25)
    assert use_fft_conv(conv, x.bfloat16()) is (training and fast)
    assert not use_fft_conv(conv, x.half())
    with torch.autocast('cpu', torch.bfloat16):
        assert use_fft_conv(conv, x) is (training and fast)
    with torch.autocast('cpu', torch.float16):
        assert not use_fft_conv(conv, x)


def test_bfloat16_rounds_little_more_than_the_direct_convolution():
    torch.manual_seed(0)
    x = torch.randn(1, 64, 13, 200).contiguous(memory_format=torch.channels_last)
    conv = temporal_conv()
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=(4, 0))
    with torch.autocast('cpu', torch.bfloat16):
        ours, direct = fft_conv(x, conv.weight, conv.bias), conv(x)
    assert ours.dtype == torch.bfloat16
    error, of_direct = ((y - exact).norm() / exact.norm() for y in (ours, direct))
    assert error < 2.5 * of_direct and error < 0.01


def test_gradients_under_autocast(monkeypatch):
    """Weights in float32 get float32 gradients near those of the direct convolution."""
    torch.manual_seed(0)
    x = torch.randn(1, 64, 13, 200).contiguous(memory_format=torch.channels_last)
    conv = temporal_conv()
    with torch.autocast('cpu', torch.bfloat16):
        y = fft_conv(x, conv.weight, conv.bias)
    grad = torch.randn_like(y)
    found = torch.autograd.grad(y, list(conv.parameters()), grad)
    expected = torch.autograd.grad(conv(x), list(conv.parameters()), grad.float())
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.02 * b.norm()


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('out_channels', [16, 64])  # used in block 9; in blocks 9 and 10
def test_encoder_is_the_same_with_and_without(training, out_channels, monkeypatch):
    torch.manual_seed(0)
    calls = []
    monkeypatch.setattr(fast_stgcn, 'fft_conv', lambda *args: calls.append(1) or fft_conv(*args))
    encoder = FastSTGCN(tcn_dropout=0.0, out_channels=out_channels).double().train(training)
    x, results = torch.randn(3, 2, 50, 25, 3, dtype=torch.float64), []

    for use in (use_fft_conv, lambda conv, x: False):
        monkeypatch.setattr(fast_stgcn, 'use_fft_conv', use)
        y = encoder(x)
        assert len(calls) == (1 if out_channels == 16 else 2)
        results.append((y, *torch.autograd.grad(y.square().mean(), list(encoder.parameters()))))

    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
