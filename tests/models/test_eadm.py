"""EADM against Eq. 3 and Algorithm 1 of the paper, written as loops."""

import math

import numpy as np
import pytest
import torch

from aimclr_mm.models.eadm import EADM, drop_and_rescale, energy_attention


def features(b=2, c=5, t=7, v=6) -> torch.Tensor:
    """A map in which some joints and some frames stand out."""
    x = torch.randn(b, c, t, v)
    x[0, :, :, 2] += 9
    x[1, :, 3] -= 9
    return x


def attention_oracle(x: np.ndarray, lam: float, unbiased: bool) -> np.ndarray:
    """Sigmoid of the inverse of Eq. 3, neuron by neuron."""
    result = np.empty(x.shape)
    for b, c in np.ndindex(*x.shape[:2]):
        neurons = x[b, c].ravel()
        mean = sum(neurons) / len(neurons)
        variance = sum((neuron - mean) ** 2 for neuron in neurons) / (len(neurons) - int(unbiased))
        for t, v in np.ndindex(*x.shape[2:]):
            energy = 4 * (variance + lam) / ((x[b, c, t, v] - mean) ** 2 + 2 * variance + 2 * lam)
            result[b, c, t, v] = 1 / (1 + math.exp(-1 / energy))
    return result


def eadm_oracle(
    x: torch.Tensor, margin: float, lam: float, temporal: str, unbiased: bool
) -> np.ndarray:
    """Algorithm 1: spatial mask, scale, temporal mask, scale."""
    x = x.detach().double().numpy()
    attention = attention_oracle(x, lam, unbiased)
    b, c, t, v = x.shape
    spatial = np.array(
        [[attention[i, :, :, k].mean() < margin for k in range(v)] for i in range(b)]
    )
    if temporal == 'frame':
        rows = np.array([[attention[i, :, j].mean() < margin for j in range(t)] for i in range(b)])
        temporal_mask, ones = (
            np.broadcast_to(rows[:, None, :, None], x.shape),
            rows.sum() / rows.size,
        )
    else:
        temporal_mask = attention < margin
        ones = temporal_mask.sum() / temporal_mask.size
    result = np.zeros(x.shape)
    for i, j, k, m in np.ndindex(*x.shape):
        if spatial[i, m] and temporal_mask[i, j, k, m]:
            result[i, j, k, m] = x[i, j, k, m] / (spatial.sum() / spatial.size) / ones
    return result


@pytest.mark.parametrize('unbiased', [False, True])
@pytest.mark.parametrize('lam', [1e-4, 0.5])
def test_attention(unbiased, lam):
    x = features()
    expected = attention_oracle(x.double().numpy(), lam, unbiased)
    np.testing.assert_allclose(energy_attention(x, lam, unbiased), expected, rtol=1e-5)


def test_variance_conventions_differ():
    x = torch.randn(2, 5, 3, 2)
    assert (energy_attention(x) - energy_attention(x, unbiased=True)).abs().max() > 1e-3


@pytest.mark.parametrize('unbiased', [False, True])
@pytest.mark.parametrize('temporal', ['element', 'frame'])
@pytest.mark.parametrize('margin', [0.7, 0.75, 0.8])
def test_algorithm_1(margin, temporal, unbiased):
    x = features()
    expected = eadm_oracle(x, margin, 1e-4, temporal, unbiased)
    ours = EADM(margin, temporal=temporal, unbiased=unbiased)(x)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert 0 < (ours == 0).float().mean() < 1


def test_what_stands_out_is_dropped():
    x = features()
    element, frame = EADM(0.75)(x), EADM(0.75, temporal='frame')(x)
    for y in (element, frame):
        assert (y[0, :, :, 2] == 0).all() and (y[1, :, 3] == 0).all()
        assert (y[1, :, 0] != 0).any() and (y[0, :, :, 0] != 0).any()
    rest = [t for t in range(7) if t != 3]
    scale = (12 / 11) * (14 / 13)  # 1 of 12 joints, 1 of 14 frames dropped
    torch.testing.assert_close(frame[1, :, rest], x[1, :, rest] * scale)


def test_defaults_are_those_of_the_paper():
    module = EADM()
    assert (module.keep_margin, module.lam, module.temporal, module.unbiased) == (
        0.7,
        1e-4,
        'element',
        False,
    )
    assert not list(module.parameters()) and not module.state_dict()


@pytest.mark.parametrize('temporal', ['element', 'frame'])
def test_all_dropped_gives_zeros(temporal):
    assert (EADM(keep_margin=0.5, temporal=temporal)(features()) == 0).all()


@pytest.mark.parametrize('temporal', ['element', 'frame'])
def test_nothing_dropped_is_the_identity(temporal):
    x = features()
    assert torch.equal(EADM(keep_margin=1.1, temporal=temporal)(x), x)


@pytest.mark.parametrize('temporal', ['element', 'frame'])
@pytest.mark.parametrize('unbiased', [False, True])
@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (1, 2, 1, 1)])
@pytest.mark.parametrize('value', [0.0, 3.7, -1e4])
def test_constant_maps_are_kept(value, shape, unbiased, temporal):
    x = torch.full(shape, value, requires_grad=True)
    y = EADM(temporal=temporal, unbiased=unbiased)(x)
    y.sum().backward()
    assert torch.equal(y, x) and (x.grad == 1).all()


def test_range_of_the_attention():
    """1/e is at least 1/2, so the attention at least sigmoid(1/2)."""
    low = 1 / (1 + math.exp(-0.5))
    x = torch.randn(4, 8, 13, 25)
    attention = energy_attention(x)
    assert attention.dtype == torch.float32 and attention.shape == x.shape
    assert low - 1e-6 <= attention.min() < 0.63 and 0.9 < attention.max() < 1
    assert energy_attention(torch.zeros(1, 1, 2, 2)).flatten().tolist() == pytest.approx([low] * 4)


@pytest.mark.parametrize('temporal', ['element', 'frame'])
def test_gradient_is_that_with_constant_masks(temporal):
    x, weight = features().requires_grad_(), torch.randn(2, 5, 7, 6)
    y = EADM(0.75, temporal=temporal)(x)
    (y * weight).sum().backward()
    factor = (y / x).detach()  # the masks with their scales
    torch.testing.assert_close(x.grad, factor * weight)
    assert (factor == 0).any() and (factor > 1).any()
    assert not energy_attention(x).requires_grad


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('temporal', ['element', 'frame'])
def test_half_precision(dtype, temporal):
    x = (features() * 50).to(dtype)  # squares would overflow float16
    y = EADM(0.75, temporal=temporal)(x)
    assert y.dtype == dtype and torch.isfinite(y).all()
    torch.testing.assert_close(
        y.float(), EADM(0.75, temporal=temporal)(x.float()), rtol=2e-2, atol=1e-3
    )


@pytest.mark.parametrize(
    'keep, scale', [([True, False, True, True], 4 / 3), ([True] * 4, 1), ([False] * 4, 0)]
)
def test_drop_and_rescale(keep, scale):
    x = torch.arange(1.0, 9).view(1, 2, 1, 4)
    mask = torch.tensor(keep).view(1, 1, 1, 4)
    torch.testing.assert_close(drop_and_rescale(x, mask), x * torch.tensor(keep) * scale)


def test_unknown_temporal_mode():
    with pytest.raises(ValueError, match="temporal='time'.*'element', 'frame'"):
        EADM(temporal='time')
