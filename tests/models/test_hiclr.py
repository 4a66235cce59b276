"""HiCLR against its equations in float64, sample by sample."""

import math

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from aimclr_mm.models.methods.several_streams import compare_views
from tests.models.test_model import TAU, VIEWS, K, N, T, build, skeletons, softmax, views

NAMES = ('query', 'key', 'extreme', 'masked')


def probabilities(model, inputs: dict, seed: int) -> dict[str, np.ndarray]:
    """Return the softmax over the own key and the bank of each query, and the queries' nearest."""
    torch.manual_seed(seed)
    with torch.no_grad():
        masked = model.mask_joints(inputs['masked'])
        queries = dict(
            normal=model.encoder(inputs['query']),
            strong=model.encoder(inputs['extreme']),
            masked=model.encoder(masked),
        )
        key = model.key_encoder(inputs['key']).double().numpy()
    bank = model.memory_bank.keys.double().numpy()
    result = {}
    for name, query in queries.items():
        query = query.double().numpy()
        rows = [[query[i] @ key[i], *(query[i] @ m for m in bank)] for i in range(N)]
        result[name] = softmax(np.array(rows) / TAU)
    return result


def cross_entropy(teacher: np.ndarray, student: np.ndarray) -> float:
    """Return -sum p log q, mean over samples."""
    return -(teacher * np.log(student)).sum(1).mean()


def test_losses_of_the_first_stage():
    model, inputs = build('HiCLR', alpha=2.0, beta=0.5), views(*NAMES)
    p = probabilities(model, inputs, seed=3)
    torch.manual_seed(3)
    result = model(inputs, mode='loss')
    assert set(result) == {'loss_info', 'loss_d3m'}
    contrast = -np.log(p['normal'][:, 0]).mean()
    chain = cross_entropy(p['normal'], p['strong']) + cross_entropy(p['strong'], p['masked'])
    assert result['loss_info'].item() == pytest.approx(2 * contrast, rel=1e-5)
    assert result['loss_d3m'].item() == pytest.approx(0.5 * chain / 2, rel=1e-5)


def test_losses_of_the_second_stage():
    """The mean over the key and the nearest neighbor of each of the three queries."""
    model, inputs = build('HiCLR'), views(*NAMES)
    model.mining = True
    with torch.no_grad():  # banks of embeddings, so that the queries have different neighbors
        near = [model.encoder(inputs[name]) for name in ('query', 'extreme', 'masked')]
        model.memory_bank.keys[: 3 * N] = torch.cat(near)
    p = probabilities(model, inputs, seed=4)
    torch.manual_seed(4)
    result = model(inputs, mode='loss')
    assert set(result) == {'loss_nnm', 'loss_d3m'}
    terms, sizes = [], set()
    for i in range(N):
        positives = {0, *(1 + int(rows[i, 1:].argmax()) for rows in p.values())}
        terms.append(-np.mean([np.log(p['normal'][i, j]) for j in positives]))
        sizes.add(len(positives))
    assert max(sizes) > 2
    assert result['loss_nnm'].item() == pytest.approx(np.mean(terms), rel=1e-5)
    assert model.chance_loss() == pytest.approx(2 * math.log(K + 1))


@pytest.mark.parametrize('ratio, joints, count', [(0.1, 25, 2), (0.5, 25, 12), (0.1, 5, 1)])
def test_each_frame_loses_its_own_joints(ratio, joints, count):
    model, x = build('HiCLR', mask_ratio=ratio), skeletons(joints) + 10
    model.mask_value.data.fill_(0.25)
    y = model.mask_joints(x)
    lost = (y != x).any(-1)  # (N, M, T, V)
    assert (lost.sum(-1) == count).all() and (y[lost] == 0.25).all()
    assert (lost == lost[:1, :1]).all()  # the same for all samples and people
    assert len({tuple(row) for row in lost[0, 0].tolist()}) > 1
    y.sum().backward()
    assert model.mask_value.grad.item() == N * 2 * T * count * 3


def test_joints_are_drawn_uniformly():
    model, x = build('HiCLR'), torch.ones(1, 1, 20000, 25, 1)
    share = (model.mask_joints(x)[0, 0, ..., 0] == 0).double().mean(0)
    assert (share - 2 / 25).abs().max() < 5 * math.sqrt(0.08 * 0.92 / 20000)


def test_teachers_get_no_gradient():
    model, inputs = build('HiCLR'), views(*NAMES)
    leaves = {name: inputs[name].requires_grad_() for name in NAMES}
    model(inputs, mode='loss')['loss_d3m'].backward()
    assert leaves['query'].grad is None and leaves['key'].grad is None
    assert leaves['extreme'].grad.any() and leaves['masked'].grad.any()


def test_the_strong_view_learns_from_the_normal_one_only():
    """Its gradient is that of the first divergence alone."""
    model, inputs = build('HiCLR'), views(*NAMES)
    model.eval()
    logits = [x.detach().requires_grad_() for x in compare_views(model, inputs)[0]]
    model.divergence(logits).backward()
    normal, strong, _ = (x.detach().double().softmax(1) for x in logits)
    torch.testing.assert_close(
        logits[1].grad.double(), (strong - normal) / (2 * N), atol=1e-6, rtol=0
    )


def test_data_preprocessor_feeds_the_model():
    strong = [dict(type='Shear'), dict(type='Rotate')]
    preprocessor = dict(VIEWS, extreme=strong, others=dict(masked=strong))
    model = build('HiCLR', data_preprocessor=preprocessor)
    batch = dict(
        inputs=list(skeletons()[:, None]), data_samples=[ActionDataSample() for _ in range(N)]
    )
    data = model.data_preprocessor(batch, training=True)
    assert set(data['inputs']) == set(NAMES)
    assert not torch.equal(data['inputs']['extreme'], data['inputs']['masked'])
    assert all(torch.isfinite(value) for value in model(**data, mode='loss').values())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(mask_ratio=0.0), 'mask_ratio=0.0'),
        (dict(mask_ratio=1.0), 'mask_ratio=1.0'),
        (dict(eadm=dict(type='EADM')), 'eadm=None'),
        (dict(data_preprocessor=dict(VIEWS, extreme=[])), 'data_preprocessor.others.masked'),
        (dict(data_preprocessor=dict(VIEWS, others=dict(masked=[]))), 'data_preprocessor.extreme'),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build('HiCLR', **options)


def test_a_further_view_cannot_replace_another():
    with pytest.raises(ValueError, match="others names the view 'key'"):
        MODELS.build(dict(VIEWS, others=dict(key=[])))
