"""Convolution over time by the convolution theorem, beside torch's convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aimclr_mm.models import AimCLRSTGCN
from aimclr_mm.models.backbones import stgcn
from aimclr_mm.models.backbones.cpu.fft_conv import convolve, transforms, worthwhile


def last(channels: int = 64, stride: int = 1, taps: int = 9) -> nn.Conv2d:
    """A temporal convolution as in the last block."""
    return nn.Conv2d(channels, channels, (taps, 1), (stride, 1), (taps // 2, 0))


@pytest.mark.parametrize('frames', [1, 2, 13, 16, 25])
@pytest.mark.parametrize('taps', [3, 9])
def test_convolution_and_its_gradients_are_torchs(frames, taps):
    torch.manual_seed(0)
    x = (
        torch.randn(1, 3, frames, 7, dtype=torch.float64)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
    )
    weight, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((5, 3, taps, 1), (5,))
    )
    y, expected = (
        convolve(x, weight, bias),
        F.conv2d(x.contiguous(), weight, bias, padding=(taps // 2, 0)),
    )
    torch.testing.assert_close(y, expected)
    gradient = torch.randn_like(expected)
    for ours, torchs in zip(
        *(torch.autograd.grad(z, (x, weight, bias), gradient) for z in (y, expected))
    ):
        torch.testing.assert_close(ours, torchs)


def test_float32_loses_no_precision():
    torch.manual_seed(0)
    x = torch.randn(1, 64, 13, 50).contiguous(memory_format=torch.channels_last)
    conv = last()
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=(4, 0))
    error = (convolve(x, conv.weight, conv.bias) - exact).abs().max() / exact.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize(
    'frames, products', [(13, 25), (16, 29)]
)  # n = 17: 1 + 3 * 8; n = 20: 2 + 3 * 9
def test_number_of_products(frames, products):
    to_x, to_w, to_y = transforms(frames, 9)
    assert (
        to_x.shape == (products, frames)
        and to_w.shape == (products, 9)
        and to_y.shape == (frames, products)
    )


def test_matrices_first_made_in_inference_serve_training():
    conv, x = last(4), torch.randn(1, 4, 37, 2)
    with torch.inference_mode():
        convolve(x, conv.weight, conv.bias)
    convolve(x.clone(), conv.weight, conv.bias).sum().backward()
    assert conv.weight.grad.any()


@pytest.mark.parametrize(
    'conv, frames, expected',
    [
        (last(256), 13, True),
        (last(64), 13, True),
        (last(64, stride=2), 25, False),
        (last(32), 25, False),
        (last(16), 50, False),
        (last(64, taps=1), 13, False),
    ],
)
def test_layers_that_take_the_detour(conv, frames, expected):
    assert worthwhile(conv, torch.empty(1, conv.in_channels, frames, 25)) is expected


@pytest.mark.parametrize('fast', [False, True])
@pytest.mark.parametrize('training', [False, True])
def test_half_precision(training, fast, monkeypatch):
    """bfloat16 takes the detour while training on a CPU with products in it, float16 never."""
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: fast)
    conv, x = last().train(training), torch.empty(1, 64, 13, 25)
    assert worthwhile(conv, x.bfloat16()) is (training and fast) and not worthwhile(conv, x.half())
    with torch.autocast('cpu', torch.bfloat16):
        assert worthwhile(conv, x) is (training and fast)
    with torch.autocast('cpu', torch.float16):
        assert not worthwhile(conv, x)


def test_bfloat16_rounds_little_more_than_the_direct_convolution():
    """Beside the direct convolution in bfloat16, both against float64."""
    torch.manual_seed(0)
    x = torch.randn(1, 64, 13, 200).contiguous(memory_format=torch.channels_last)
    conv = last()
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=(4, 0))
    with torch.autocast('cpu', torch.bfloat16):
        ours, direct = convolve(x, conv.weight, conv.bias), conv(x)
    assert ours.dtype == torch.bfloat16
    error, of_direct = ((y - exact).norm() / exact.norm() for y in (ours, direct))
    assert error < 2.5 * of_direct and error < 0.01


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('out_channels', [16, 64])  # before it block 9, then both
def test_encoder_is_the_same_with_and_without(training, out_channels, monkeypatch):
    torch.manual_seed(0)
    calls = []
    monkeypatch.setattr(stgcn, 'convolve', lambda *args: calls.append(args) or convolve(*args))
    encoder = AimCLRSTGCN(tcn_dropout=0.0, out_channels=out_channels).double().train(training)
    x, results = torch.randn(3, 2, 50, 25, 3, dtype=torch.float64), []
    for encoder.spectral in (True, False):
        y = encoder(x)
        assert len(calls) == (1 if out_channels == 16 else 2)
        results.append((y, *torch.autograd.grad(y.square().mean(), list(encoder.parameters()))))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
