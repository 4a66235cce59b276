"""FastSTGCN against AimCLRSTGCN: outputs, gradients, statistics, accuracy."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimclr_mm.models import AimCLR, AimCLRSTGCN, FastSTGCN
from aimclr_mm.models.backbones.cpu.fast_stgcn import graph_convolution, pointwise_conv
from aimclr_mm.skeletons import LAYOUTS


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('layout', sorted(LAYOUTS))
def test_same_as_the_plain_network(layout, training):
    joints, dims = LAYOUTS[layout].num_joints, LAYOUTS[layout].dims
    options = dict(layout=layout, in_channels=dims, base_channels=8, out_channels=24)
    fast, plain = (
        kind(**options, tcn_dropout=0.0).double().train(training)
        for kind in (FastSTGCN, AimCLRSTGCN)
    )
    with torch.no_grad():
        for p in fast.parameters():
            p.add_(0.05 * torch.randn_like(p))
    plain.load_state_dict(fast.state_dict())

    x, results = torch.randn(3, 2, 13, joints, dims, dtype=torch.float64), []
    x[0, 1] = x[2, 1] = 0  # absent people
    for backbone in (fast, plain):
        out = backbone(x)
        assert out.shape == (3, 2, 24, 4, joints)
        out.square().mean().backward()
        results.append([out.detach(), *(p.grad for p in backbone.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    for name, buffer in fast.named_buffers():
        torch.testing.assert_close(buffer, dict(plain.named_buffers())[name])


def relative_error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the L2 norm of all differences over that of all expected values."""
    a, b = (torch.cat([x.detach().double().flatten() for x in part]) for part in (found, expected))
    return ((a - b).norm() / b.norm()).item()


def errors_against_float64(batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the relative L2 errors of outputs and gradients in training, at the paper's size.

    Args:
        batch: number of clips of 50 frames and 25 joints.
        dtype: of the networks; the reference is the plain one in float64.

    Returns:
        (2, 2): of AimCLRSTGCN and of FastSTGCN; outputs and gradients of all parameters.
    """
    reference = AimCLRSTGCN(tcn_dropout=0.0).double()
    x = torch.randn(batch, 2, 50, 25, 3)
    exact = reference(x.double())
    grad = torch.randn(exact.shape)
    exact_grads = torch.autograd.grad(exact, list(reference.parameters()), grad.double())

    errors = []
    for kind in (AimCLRSTGCN, FastSTGCN):
        network = kind(tcn_dropout=0.0).to(dtype)
        network.load_state_dict(reference.state_dict())
        y = network(x.to(dtype))
        grads = torch.autograd.grad(y, list(network.parameters()), grad.to(dtype))
        errors.append([relative_error([y], [exact]), relative_error(grads, exact_grads)])
    return torch.tensor(errors)


def test_float64_at_the_size_of_the_paper():
    """With 50 frames blocks 9 and 10 have time first and use the convolution theorem."""
    torch.manual_seed(0)
    assert errors_against_float64(2, torch.float64).max() < 1e-9


@pytest.mark.parametrize('training', [False, True])
def test_branches_for_a_gpu_are_the_same(like_cuda, training):
    test_same_as_the_plain_network('ntu25', training)


@pytest.mark.parametrize('channels', [8, 16, 32])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_narrow_layers_of_a_gpu(like_cuda, monkeypatch, dtype, channels):
    """Half precision has a higher limit; on both sides of it the result is that of float64."""
    x = torch.randn(3, channels, 4, 25)
    unit = FastSTGCN(base_channels=channels).gcn[1].gcn
    calls = []
    monkeypatch.setattr(torch, 'bmm', lambda *args: calls.append(args) or torch.matmul(*args))
    with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
        y = graph_convolution(unit, x.to(memory_format=torch.channels_last))
    assert bool(calls) == (channels**2 > (256 if dtype == torch.float32 else 1024))
    exact = copy.deepcopy(unit).double()(x.double())
    assert relative_error([y], [exact]) < (1e-5 if dtype == torch.float32 else 0.02)


def test_float32_is_as_accurate_as_the_plain_network(monkeypatch):
    """Outputs and gradients of a smooth network, in which rounding does not switch a ReLU."""

    def smooth(x: Tensor) -> Tensor:
        return F.softplus(x, beta=4.0)

    monkeypatch.setattr(torch, 'relu_', smooth)
    monkeypatch.setattr(Tensor, 'relu_', smooth)
    monkeypatch.setattr(nn.ReLU, 'forward', lambda self, x: smooth(x))
    torch.manual_seed(0)
    plain, fast = errors_against_float64(8)
    assert (plain < 1e-4).all() and (fast < 3 * plain).all()


@pytest.mark.slow
def test_float32_with_relu_is_as_accurate_as_the_plain_network():
    """Root mean square of several draws: one ReLU that rounding switches changes the gradients."""
    torch.manual_seed(0)
    squares = sum(errors_against_float64(8).square() for _ in range(6))
    plain, fast = (squares / 6).sqrt()
    assert plain[0] < 1e-5 and (fast < 3 * plain).all()


@pytest.mark.slow
def test_training_stays_with_the_plain_network():
    """50 steps differ no more than after a change of the first weights by rounding."""

    def train(kind: str, noise: float = 0.0) -> Tensor:
        torch.manual_seed(0)
        backbone = dict(
            type=kind,
            layout='coco17',
            in_channels=2,
            base_channels=8,
            out_channels=32,
            tcn_dropout=0.0,
        )
        head = dict(type='ProjectionHead', in_channels=32, hidden_channels=32, out_channels=16)
        model = AimCLR(backbone, head, queue_length=64, eadm=dict(type='EADM'))
        model.init_weights()
        with torch.no_grad():
            for p in model.encoder.parameters():
                p.mul_(1 + noise)
        optimizer = torch.optim.SGD(model.encoder.parameters(), 0.02, momentum=0.9)

        data, losses = torch.randn(8, 2, 8, 17, 2), []
        for _ in range(50):
            views = {
                name: data + 0.1 * torch.randn_like(data) for name in ('query', 'key', 'extreme')
            }
            model.update_key_encoder()
            loss = sum(value for name, value in model(views, mode='loss').items() if 'loss' in name)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return torch.tensor(losses)

    plain, fast = train('AimCLRSTGCN'), train('FastSTGCN')
    noisy = train('AimCLRSTGCN', noise=2.0**-23)
    assert plain.max() - plain.min() > 1  # the loss moves
    torch.testing.assert_close(fast[:5], plain[:5], rtol=1e-5, atol=0)
    assert (fast - plain).abs().max() < 5 * (noisy - plain).abs().max()


def test_absent_people_are_computed_once_in_evaluation():
    backbone = FastSTGCN('coco17', in_channels=2, base_channels=4, out_channels=8).eval()
    x, computed = torch.randn(5, 2, 8, 17, 2), []
    encode = backbone.encode
    backbone.encode = lambda people: computed.append(len(people)) or encode(people)
    for absent in ([], [3], [1, 3, 4], [0, 1, 2, 3, 4]):
        y = x.clone()
        y[absent, 1] = 0
        expected = torch.stack([encode(sample) for sample in y])
        with torch.no_grad():
            torch.testing.assert_close(backbone(y), expected, rtol=1e-5, atol=1e-6)
        assert computed.pop() == 10 - max(len(absent) - 1, 0)

    with torch.no_grad():
        several = backbone(torch.zeros(3, 2, 8, 17, 2))
        single = backbone(torch.zeros(1, 1, 8, 17, 2))
    assert torch.equal(several[2, 1], single[0, 0])


def test_copies_and_checkpoints_are_exchangeable():
    fast = FastSTGCN(base_channels=4, out_channels=8).eval()
    plain = AimCLRSTGCN(base_channels=4, out_channels=8).eval()
    plain.load_state_dict(fast.state_dict())
    x = torch.randn(2, 2, 8, 25, 3)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(fast)(x), fast(x))
        torch.testing.assert_close(plain(x), fast(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('training', [False, True])
def test_bfloat16_is_as_accurate_as_in_the_plain_network(training):
    torch.manual_seed(0)
    fast = FastSTGCN(tcn_dropout=0.0).train(training)
    plain = AimCLRSTGCN(tcn_dropout=0.0).train(training)
    plain.load_state_dict(fast.state_dict())
    x = torch.randn(2, 2, 50, 25, 3)
    exact = copy.deepcopy(plain).double()(x.double())

    with torch.autocast('cpu', torch.bfloat16):
        y, of_plain = fast(x), plain(x)
    assert relative_error([y], [exact]) < 2 * relative_error([of_plain], [exact]) < 0.2
    y.float().mean(dim=(1, 3, 4)).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in fast.parameters())


@pytest.mark.parametrize('stride', [1, 2])
def test_pointwise_convolution_matches_conv2d(stride):
    x = torch.randn(3, 4, 9, 5, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(6, 4, 1, 1, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)

    y = pointwise_conv(x, weight, bias, stride)
    expected = F.conv2d(x.contiguous(), weight, bias, (stride, 1))
    torch.testing.assert_close(y, expected)

    grad = torch.randn_like(expected)
    found, reference = (torch.autograd.grad(z, (x, weight, bias), grad) for z in (y, expected))
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b)
