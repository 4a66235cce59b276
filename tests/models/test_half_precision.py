"""EADM at any threshold and losses of any embedding: finite, in half precision too."""

import copy
import math

import pytest
import torch

from aimclr_mm.datasets import SkeletonBatch
from aimclr_mm.models import losses
from aimclr_mm.models.eadm import EADM, drop_and_rescale, energy_attention
from tests.models.test_model import build

HALVES = [torch.float16, torch.bfloat16]
LOWEST = 1 / (1 + math.exp(-0.5))  # of the attention


@pytest.mark.parametrize('dtype', [torch.float32, *HALVES])
@pytest.mark.parametrize('temporal', ['element', 'frame'])
@pytest.mark.parametrize(
    'margin', [-math.inf, 0, 0.5, LOWEST, LOWEST + 1e-6, 0.63, 0.7, 1, math.inf]
)
@pytest.mark.parametrize('lam', [0, 1e-30, 1e-4])
def test_eadm_is_finite_at_any_threshold(margin, temporal, dtype, lam):
    largest = 6e4 if dtype == torch.float16 else 1e6
    some = torch.randn(3, 4, 5, 6)
    maps = [
        some,
        torch.zeros(2, 3, 4, 5),
        torch.full((2, 3, 4, 5), largest),
        some.clamp(-1, 1) * largest,
        torch.zeros(1, 8, 200, 25).index_fill(2, torch.tensor([7]), largest),
        torch.ones(1, 1, 1, 1),
        some * 1e-20,
    ]
    for x in maps:
        x = x.to(dtype).requires_grad_()
        with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
            y = EADM(margin, lam, temporal)(x)
        y.float().mean().backward()
        assert y.dtype == dtype and y.isfinite().all() and x.grad.isfinite().all()
        attention = energy_attention(x, lam)
        assert attention.isfinite().all() and attention.min() >= LOWEST - 1e-6
        if margin < LOWEST - 1e-6:
            assert not y.any()
        if margin == math.inf:
            torch.testing.assert_close(y, x)


def test_scale_beyond_float16_stays_in_range():
    x = torch.zeros(1, 1, 1000, 100, dtype=torch.float16)
    keep = torch.zeros(1, 1, 1000, 100, dtype=torch.bool)
    x[0, 0, 0, 0], keep[0, 0, 0, 0] = 3, True  # a scale of 100,000
    y = drop_and_rescale(x, keep)
    assert y[0, 0, 0, 0] == 65504 and y.count_nonzero() == 1
    assert drop_and_rescale(x.float(), keep)[0, 0, 0, 0] == 300_000


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(lam=-1), 'lam=-1'),
        (dict(lam=math.nan), 'lam=nan'),
        (dict(keep_margin=math.nan), 'keep_margin is NaN'),
    ],
)
def test_settings_of_eadm_that_are_none(options, message):
    with pytest.raises(ValueError, match=f'EADM: {message}'):
        EADM(**options)


def all_losses(
    query: torch.Tensor, key: torch.Tensor, queue: torch.Tensor, temperature: float
) -> list[torch.Tensor]:
    """Return every loss of a query; the other queries are its opposite and itself."""
    logits, other, equal = (
        losses.contrastive_logits(q, key, queue, temperature)
        for q in (query, -query, query.detach())
    )
    positives = losses.nearest_neighbors([logits, other], 1)
    found = [losses.info_nce(logits), losses.info_nce(other), losses.mean_cosine(query)]
    found += [
        losses.d3m(teacher, student) for teacher in (equal, other) for student in (logits, other)
    ]
    found += [losses.mining_loss(logits, positives, reduction) for reduction in ('sum', 'mean')]
    return found + [
        losses.cross_stream_loss(logits, other, positives, temperature, context, reduction)
        for context in (True, False)
        for reduction in ('sum', 'mean')
    ]


@pytest.mark.parametrize('autocast', [False, True], ids=['half inputs', 'autocast'])
@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('temperature', [0.07, 0.01])
@pytest.mark.parametrize('samples', [1, 5])
@pytest.mark.parametrize('sign', [1, -1, 0], ids=['equal', 'opposite', 'zero'])
def test_losses_in_half_precision(sign, samples, temperature, dtype, autocast):
    base = torch.nn.functional.normalize(torch.randn(1, 16), dim=1)
    query = base.repeat(samples, 1).to(torch.float32 if autocast else dtype).requires_grad_()
    key, queue = sign * query.detach(), (-sign * base).repeat(40, 1).to(query.dtype)
    with torch.autocast('cpu', dtype, enabled=autocast):
        for found in (
            all_losses(query, key, queue, temperature),
            all_losses(0 * query, key, queue, temperature),
        ):
            assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in found)
            (gradient,) = torch.autograd.grad(sum(found), query)
            assert gradient.isfinite().all()


def test_losses_in_half_precision_are_those_of_their_inputs_in_float32():
    query, key, queue = (
        torch.nn.functional.normalize(torch.randn(n, 16), dim=1).half() for n in (6, 6, 30)
    )
    with torch.autocast('cpu', torch.bfloat16):
        half = all_losses(query, key, queue, 0.07)
    for ours, expected in zip(half, all_losses(query.float(), key.float(), queue.float(), 0.07)):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize('dtype', [torch.float32, *HALVES])
def test_embedding_without_a_direction_has_no_gradient(dtype):
    x = torch.tensor([[0.0, 0, 0], [3, 0, 4], [1e-30, 0, 0]]).to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
        unit = losses.unit_vectors(x)
    torch.testing.assert_close(unit, torch.tensor([[0, 0, 0], [0.6, 0, 0.8], [0, 0, 0]]))
    unit.sum().backward()
    assert not x.grad[[0, 2]].any() and x.grad[1].any() and x.grad.isfinite().all()


def test_unit_vectors_are_those_of_normalize_and_hide_no_nan():
    x, y = torch.randn(2, 50, 8).requires_grad_(), None
    y = torch.nn.functional.normalize(x.flatten(0, 1), dim=1)
    assert torch.equal(losses.unit_vectors(x.flatten(0, 1)), y)
    assert losses.unit_vectors(torch.tensor([[math.nan, 1.0]])).isnan().any()


@pytest.mark.parametrize('dtype', HALVES)
def test_mean_cosine_of_many_parallel_vectors(dtype):
    parallel = torch.nn.functional.normalize(torch.ones(600, 4), dim=1).to(
        dtype
    )  # squares beyond float16
    assert losses.mean_cosine(parallel).item() == pytest.approx(1, abs=0.01)
    assert losses.mean_cosine(parallel[:1]).item() == pytest.approx(0, abs=0.01)


DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
VIEW = [dict(type='TemporalCrop'), dict(type='Shear'), dict(type='AxisMask')]
VIEWS = dict(type='SkeletonViews', layout='ntu25', query=VIEW, key=VIEW, extreme=VIEW)
BACKBONE = dict(type='FastSTGCN', base_channels=4, out_channels=32)


@pytest.mark.parametrize('branches', ['as here', 'of a GPU'])
@pytest.mark.parametrize('mining', [False, True])
@pytest.mark.parametrize('dtype', HALVES)
def test_a_whole_step(dtype, mining, branches, request):
    """Views, losses, scaled backward pass and update: finite, and the loss is that of float32."""
    if branches == 'of a GPU':
        request.getfixturevalue('like_cuda')
    model = build(data_preprocessor=VIEWS, backbone=BACKBONE).to(DEVICE)
    model.mining = mining
    batch = SkeletonBatch(torch.randn(8, 1, 2, 16, 25, 3))
    before = copy.deepcopy(model)

    optimizer = torch.optim.SGD(model.encoder.parameters(), 0.1)
    # the scale that a training settles on; its first one, 65536, may overflow and skip steps
    scaler = torch.amp.GradScaler(DEVICE, init_scale=1024.0, enabled=dtype == torch.float16)
    found = []
    for network, half in ((before, False), (model, True)):
        torch.manual_seed(1)
        with torch.autocast(DEVICE, dtype, enabled=half):
            terms = network.loss(network.data_preprocessor(batch, True)['inputs'])
        found.append(sum(terms.values()))
    assert found[1].dtype == torch.float32 and found[1].item() == pytest.approx(
        found[0].item(), rel=0.05
    )

    scaler.scale(found[1]).backward()
    scaler.step(optimizer)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    moved = [
        not torch.equal(a, b)
        for a, b in zip(model.encoder.parameters(), before.encoder.parameters())
    ]
    assert sum(moved) > 0.9 * len(moved)
