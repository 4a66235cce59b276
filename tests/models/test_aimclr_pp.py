"""AimCLR++: voting against sets in plain Python, the losses of its stages against float64."""

import math

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from aimclr_mm.models.methods.aimclr_pp import vote
from tests.models.test_cross_stream import TAU, THREE, VIEWS, K, N, inputs_of, method
from tests.models.test_model import softmax


def build(streams=THREE, kind: str = 'AimCLR', **options):
    """Several streams of AimCLR without EADM, in train mode."""
    single = dict(method(kind), **options.pop('single', {}))
    if kind == 'AimCLR':
        single = dict(single, eadm=None, **dict(dict(topk=4, mining_reduction='mean')))
    cfg = dict(type='AimCLRPlusPlus', model=single, streams=streams, topk=3)
    return MODELS.build(dict(cfg, **options)).train()


@pytest.mark.parametrize('votes', [1, 2, 3])
@pytest.mark.parametrize('k', [1, 5, 24])
def test_votes_by_sets(votes, k):
    logits = [[torch.randn(N, 1 + K) for _ in range(2)] for _ in range(3)]
    positives = vote(logits, k, votes)
    for i in range(N):
        tally = {}
        for normal, extreme in logits:
            nearest = [
                set(sorted(range(1, 1 + K), key=lambda j: -row[i, j])[:k])
                for row in (normal, extreme)
            ]
            for key in nearest[0] & nearest[1]:
                tally[key] = tally.get(key, 0) + 1
        expected = {0, *(key for key, count in tally.items() if count >= votes)}
        assert set(positives[i].nonzero()[:, 0].tolist()) == expected


def cosines(model, inputs) -> dict[str, list[np.ndarray]]:
    """Return, for each stream, the similarities (N, 1 + K) of both queries, in float64."""
    result = {}
    for stream, single in model.streams.items():
        with torch.no_grad():
            key = single.key_encoder(inputs[stream]['key']).double().numpy()
            queries = [
                single.encoder(inputs[stream][name]).double().numpy()
                for name in ('query', 'extreme')
            ]
        bank = single.memory_bank.keys.double().numpy()
        result[stream] = [
            np.array([[q[i] @ key[i], *(bank @ q[i])] for i in range(N)]) for q in queries
        ]
    return result


def prepared(**options):
    """Return a model whose banks hold keys of the batch, so that streams agree, and its inputs."""
    torch.manual_seed(0)
    model = build(**options)
    inputs = inputs_of(model)
    for stream, single in model.streams.items():
        with torch.no_grad():
            single.memory_bank.keys[:N] = single.encoder(inputs[stream]['query'])
            single.memory_bank.keys[N : 2 * N] = single.encoder(inputs[stream]['extreme'])
    return model, inputs


def divergence(normal: np.ndarray, extreme: np.ndarray) -> float:
    """Return the cross entropy of the extreme query with the normal one, mean over samples."""
    return -(softmax(normal / TAU) * np.log(softmax(extreme / TAU))).sum(1).mean()


def test_losses_of_the_first_and_second_stage_are_those_of_its_streams():
    model, inputs = prepared()
    similar = cosines(model, inputs)
    for mining in (False, True):
        model.mining = mining
        assert all(single.mining is mining for single in model.streams.values())
        state = {name: value.clone() for name, value in model.state_dict().items()}
        result = model(inputs, mode='loss')
        model.load_state_dict(state)
        for stream, (normal, extreme) in similar.items():
            terms = []
            for i in range(N):
                logs = np.log(softmax(normal[i : i + 1] / TAU)[0])
                positives = {0}
                if mining:
                    for row in (normal, extreme):
                        positives |= {1 + int(j) for j in np.argsort(row[i, 1:])[-4:]}
                terms.append(-np.mean([logs[j] for j in positives]))
            name = 'loss_nnm' if mining else 'loss_info'
            assert result[f'{stream}.{name}'].item() == pytest.approx(np.mean(terms), rel=1e-4)
            assert result[f'{stream}.loss_d3m'].item() == pytest.approx(
                divergence(normal, extreme), rel=1e-4
            )
    assert model.chance_loss() == pytest.approx(6 * math.log(K + 1))


def test_losses_of_the_third_stage():
    model, inputs = prepared(topk=6)
    model.voting = model.mining = True
    similar = cosines(model, inputs)
    sets = []
    for i in range(N):
        found = [
            set(np.argsort(normal[i, 1:])[-6:]) & set(np.argsort(extreme[i, 1:])[-6:])
            for normal, extreme in similar.values()
        ]
        sets.append({0, *(1 + j for j in range(K) if sum(j in keys for keys in found) >= 2)})
    assert max(map(len, sets)) > 1
    result = model(inputs, mode='loss')
    assert set(result) == {f'{s}.{name}' for s in THREE for name in ('loss_vote', 'loss_d3m')}
    for stream, (normal, extreme) in similar.items():
        logs = np.log(softmax(normal / TAU))
        expected = -np.mean([np.mean([logs[i, j] for j in sets[i]]) for i in range(N)])
        assert result[f'{stream}.loss_vote'].item() == pytest.approx(expected, rel=1e-4)
        assert result[f'{stream}.loss_d3m'].item() == pytest.approx(
            divergence(normal, extreme), rel=1e-4
        )
    for single in model.streams.values():
        assert single.memory_bank.pointer == N
    assert model.chance_loss() == pytest.approx(6 * math.log(K + 1))


def test_gradients_of_the_third_stage():
    model, inputs = prepared()
    model.voting = True
    sum(model(inputs, mode='loss').values()).backward()
    for single in model.streams.values():
        assert all(p.grad is None for p in single.key_encoder.parameters())
        for name, p in single.encoder.named_parameters():
            assert p.grad is not None and p.grad.isfinite().all(), name


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(topk=0), f'topk=0.*between 1 and queue_length={K}'),
        (dict(topk=K + 1), f'topk={K + 1}'),
        (dict(votes=0), 'votes=0'),
        (dict(votes=4), 'votes=4.*number of streams, 3'),
        (dict(kind='SkeletonCLR'), 'model.model.type to AimCLR'),
        (dict(streams=['joint']), 'give two or three'),
        (
            dict(
                data_preprocessor=dict(
                    {name: value for name, value in VIEWS.items() if name != 'extreme'},
                    stream=list(THREE),
                )
            ),
            'extreme',
        ),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_a_method_without_a_memory_bank():
    single = dict(method('SkeletonCLR'), type='PSTL')
    single = {name: single[name] for name in ('type', 'backbone', 'head')}
    with pytest.raises(ValueError, match='PSTL has no memory bank, which CrossStream needs'):
        MODELS.build(dict(type='CrossStream', model=single))
