"""Matrix products by oneDNN and by torch, against float64."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from aimclr_mm.models.backbones.cpu import products
from aimclr_mm.models.backbones.cpu.products import bmm, linear, matmul
from aimclr_mm.utils import processor


def plain_bmm(a, b, first):
    """What ``bmm`` says it is."""
    return torch.cat([(torch.bmm(a, b)[:1] + first), torch.bmm(a, b)[1:]])


CASES = {
    'matmul': (matmul, lambda a, b, bias: a @ b + bias, [(50, 7), (7, 9), (9,)]),
    'wide': (matmul, lambda a, b, bias: a @ b + bias, [(50, 9), (9, 7), (7,)]),
    'bias in turn': (
        matmul,
        lambda a, b, bias: a @ b + bias.repeat(10, 1),
        [(50, 7), (7, 9), (5, 9)],
    ),
    'no bias': (matmul, torch.matmul, [(50, 7), (7, 9)]),
    'one row': (matmul, torch.matmul, [(1, 7), (7, 1)]),
    'bmm': (bmm, plain_bmm, [(3, 50, 7), (3, 7, 9), (9,)]),
    'linear': (linear, F.linear, [(4, 5, 6, 7), (9, 7), (9,)]),
    'strided rows': (
        lambda x, *more: linear(x[:, ::2].transpose(0, 1), *more),
        lambda x, *more: F.linear(x[:, ::2].transpose(0, 1), *more),
        [(4, 5, 6, 7), (9, 7), (9,)],
    ),
}


@pytest.fixture(params=[False, True], ids=['torch', 'oneDNN'])
def onednn(request, monkeypatch):
    """Whether oneDNN takes what it can, on whatever CPU this is."""
    if request.param and products.PRODUCT is None:
        pytest.skip('this torch has no oneDNN')
    monkeypatch.setattr(products, 'USABLE', request.param)
    return request.param


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('transposed', [False, True])
def test_products_and_their_gradients(case, transposed, onednn):
    ours, plain, shapes = CASES[case]
    torch.manual_seed(0)
    given = [torch.randn(shape) for shape in shapes]
    if transposed:  # the same numbers in another order of memory
        given = [
            x.transpose(-2, -1).contiguous().transpose(-2, -1) if x.dim() > 1 else x for x in given
        ]
    given = [x.requires_grad_() for x in given]
    exact = [x.detach().double().requires_grad_() for x in given]
    y, expected = ours(*given), plain(*exact)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    gradient = torch.randn_like(y)
    for one, other in zip(
        torch.autograd.grad(y, given, gradient),
        torch.autograd.grad(expected, exact, gradient.double()),
        strict=True,
    ):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('case', CASES)
def test_only_the_gradients_that_are_wanted(case, onednn):
    ours, _, shapes = CASES[case]
    for wanted in range(len(shapes)):
        given = [
            torch.randn(shape, requires_grad=place == wanted) for place, shape in enumerate(shapes)
        ]
        ours(*given).sum().backward()
        assert [x.grad is not None for x in given] == [
            place == wanted for place in range(len(shapes))
        ]


def test_what_onednn_takes(monkeypatch):
    """Float32 on a CPU, not empty, outside of autocast, and not where torch's switch is off."""
    monkeypatch.setattr(products, 'USABLE', True)
    x = torch.ones(3, 4)
    usable = partial(products.usable, x)
    assert usable(x) and not usable(x.double()) and not usable(x.bfloat16()) and not usable(x[:0])
    assert not usable(torch.ones(3, 4, device='meta'))
    with torch.autocast('cpu', torch.bfloat16):
        assert not usable(x)
    monkeypatch.setattr(torch.backends.mkldnn, 'enabled', False)
    assert not usable(x)


def test_empty_products(onednn):
    assert matmul(torch.ones(0, 3), torch.ones(3, 2)).shape == (0, 2)
    assert torch.equal(matmul(torch.ones(2, 0), torch.ones(0, 3), torch.ones(3)), torch.ones(2, 3))
    assert linear(torch.ones(0, 5, 3), torch.ones(2, 3), torch.ones(2)).shape == (0, 5, 2)


def test_autocast_decides_the_type(onednn):
    x = torch.randn(5, 7)
    with torch.autocast('cpu', torch.bfloat16):
        assert matmul(x, x.T).dtype == linear(x, x).dtype == torch.bfloat16
        assert products.precision(x) == torch.bfloat16
        weight = torch.randn(7, 4, requires_grad=True)
        y = matmul(x, weight, torch.ones(5, 4))
    y.sum().backward()  # outside, as in a training
    assert y.dtype == torch.bfloat16 and weight.grad.dtype == torch.float32 and weight.grad.any()
    assert products.precision(x) == torch.float32


@pytest.mark.parametrize(
    'text, vendor, name',
    [
        (
            'processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2\n\nprocessor\t: 1\n',
            'AuthenticAMD',
            'AMD EPYC',
        ),
        (
            'processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nflags\t\t: fpu avx2\n',
            'GenuineIntel',
            'Xeon',
        ),
    ],
)
def test_vendor_of_the_cpu(text, vendor, name, tmp_path, monkeypatch):
    file = tmp_path / 'cpuinfo'
    file.write_text(text)
    monkeypatch.setattr(processor, 'CPUINFO', str(file))
    found = processor.processor()
    assert found == (name, vendor, {'fpu', 'avx2'})


def test_cpu_where_no_file_describes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, 'CPUINFO', str(tmp_path / 'absent'))
    monkeypatch.setattr(
        processor.platform, 'processor', lambda: 'AMD64 Family 25 Model 33 Stepping 2, AuthenticAMD'
    )
    assert processor.processor() == (
        'AMD64 Family 25 Model 33 Stepping 2, AuthenticAMD',
        'AuthenticAMD',
        frozenset(),
    )
