"""Several streams at once: losses against float64 loops, gradients, key encoders, queues."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from aimclr_mm.models.losses import cross_stream_loss, nearest_neighbors
from tests.models.test_model import softmax, states_equal

N, K, T, D, TAU = 4, 24, 8, 6, 0.1
THREE, TWO = ('joint', 'bone', 'motion'), ('bone', 'motion')
VIEWS = dict(
    type='SkeletonViews',
    layout='ntu25',
    query=[dict(type='Shear')],
    key=[dict(type='Shear')],
    extreme=[dict(type='Shear'), dict(type='Rotate'), dict(type='AxisMask', p=0.5)],
)


def method(kind: str = 'SkeletonCLR', **options) -> dict:
    """Config of the model of one stream, with some 5,000 weights and no dropout."""
    cfg = dict(
        type=kind,
        backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=8, tcn_dropout=0.0),
        head=dict(type='ProjectionHead', in_channels=8, hidden_channels=8, out_channels=D),
        queue_length=K,
        temperature=TAU,
        **options,
    )
    return dict(cfg, eadm=dict(type='EADM')) if kind == 'AimCLR' else cfg


def build(kind: str = 'SkeletonCLR', streams=THREE, single: dict | None = None, **options):
    """Several streams in train mode."""
    cfg = dict(type='CrossStream', model=method(kind, **(single or {})), streams=streams, **options)
    return MODELS.build(cfg).train()


def inputs_of(model) -> dict[str, dict[str, torch.Tensor]]:
    """Random views of each stream."""
    return {
        stream: {name: torch.randn(N, 2, T, 25, 3) for name in ('query', 'key', 'extreme')}
        for stream in model.streams
    }


@torch.no_grad()
def embed(single, inputs: dict) -> dict:
    """Return a stream's embeddings in float64: queries (z_hat first), keys, memory bank."""
    queries = [single.encoder(inputs['query'])]
    if hasattr(single, 'eadm'):
        maps = single.encoder.backbone(inputs['extreme'])
        dropped = single.eadm(maps.flatten(0, 1)).view_as(maps)
        queries += [single.encoder.project(maps), single.encoder.project(dropped)]
    key = single.key_encoder(inputs['key'])
    return dict(
        queries=[q.double().numpy() for q in queries],
        key=key.double().numpy(),
        queue=single.memory_bank.keys.double().numpy().copy(),
    )


def margin(e: dict) -> float:
    """Return the smallest gap between the last mined neighbor and the next one, for k = 1 and 3."""
    nearest = [
        np.sort(cosines(single, query, i)[1:])[::-1]
        for single in e.values()
        for i in range(N)
        for query in range(len(single['queries']))
    ]
    return min(row[k - 1] - row[k] for row in nearest for k in (1, 3))


@cache
def prepared(kind: str, streams: tuple[str, ...]) -> tuple:
    """The first draw in which float32 and float64 agree on who is nearer."""
    for seed in range(100):
        torch.manual_seed(seed)
        drawn = draw(kind, streams)
        if margin(drawn[-1]) > 1e-5:
            return drawn
    raise AssertionError('all draws have ties')


def draw(kind: str, streams: tuple[str, ...]) -> tuple:
    """Return a model, its state, inputs and embeddings; banks hold embeddings of the batch."""
    weights = dict(alpha=2.0, beta=0.5) if kind == 'AimCLR' else {}
    model = build(kind, streams, weights)
    inputs = inputs_of(model)
    e = {stream: embed(single, inputs[stream]) for stream, single in model.streams.items()}
    for stream, single in model.streams.items():
        near = np.concatenate(e[stream]['queries'])[torch.randperm(len(e[stream]['queries']) * N)]
        single.memory_bank.keys[: len(near)] = torch.from_numpy(near).float()
        e[stream]['queue'] = single.memory_bank.keys.double().numpy().copy()
    return model, {name: value.clone() for name, value in model.state_dict().items()}, inputs, e


def with_neighbors(
    kind: str,
    streams=THREE,
    mining: bool = True,
    topk: int = 1,
    context: bool = True,
    reduction: str = 'mean',
) -> tuple:
    """Return the prepared model before its first batch, its inputs and their embeddings."""
    model, state, inputs, e = prepared(kind, streams)
    model.load_state_dict(state)
    model.zero_grad()
    model.mining, model.topk, model.context, model.mining_reduction = (
        mining,
        topk,
        context,
        reduction,
    )
    return model, inputs, e


def cosines(e: dict, query: int, sample: int) -> list[float]:
    """Return the cosines with the own key, then with the memory bank."""
    q = e['queries'][query][sample]
    return [q @ e['key'][sample], *(e['queue'] @ q)]


def cross_terms(
    own: dict, other: dict, topk: int, context: bool
) -> tuple[list[np.ndarray], list[set[int]]]:
    """Return each sample's probabilities and positives when one stream learns from another."""
    rows, sets = [], []
    for i in range(N):
        row, theirs = cosines(own, 0, i), cosines(other, 0, i)
        mined = {
            1 + int(j)
            for query in range(len(other['queries']))
            for j in np.argsort(cosines(other, query, i)[1:])[-topk:]
        }
        positives = {0} | mined
        if context:
            row = row + [row[j] * theirs[j] for j in range(1, K + 1)]
            positives |= {j + K for j in mined}
        rows.append(softmax(np.array([row]) / TAU)[0])
        sets.append(positives)
    return rows, sets


def divergence(e: dict) -> float:
    """Return a stream's D3M loss: mean cross entropy of the extreme queries with the normal one."""
    p = [softmax(np.array([cosines(e, query, i) for i in range(N)]) / TAU) for query in range(3)]
    return sum(-(p[0] * np.log(student)).sum(1).mean() for student in p[1:]) / 2


# losses


@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR'])
@pytest.mark.parametrize('streams', [TWO, THREE], ids=['two', 'three'])
@pytest.mark.parametrize('context', [True, False], ids=['context', 'plain'])
@pytest.mark.parametrize('topk, reduction', [(1, 'mean'), (3, 'mean'), (3, 'sum')])
def test_second_stage_equals_loops(kind, streams, context, topk, reduction):
    model, inputs, e = with_neighbors(kind, streams, True, topk, context, reduction)
    result, chance, alpha = model(inputs, mode='loss'), 0.0, 2.0 if kind == 'AimCLR' else 1.0
    for own in streams:
        losses, levels = [], []
        for other in set(streams) - {own}:
            rows, sets = cross_terms(e[own], e[other], topk, context)
            size = [1 if reduction == 'sum' else len(s) for s in sets]
            losses.append(
                -np.mean([sum(np.log(p[j]) for j in s) / n for p, s, n in zip(rows, sets, size)])
            )
            levels.append(
                np.mean([len(s) / n for s, n in zip(sets, size)]) * math.log(len(rows[0]))
            )
            assert len(set(map(frozenset, sets))) > 1
        assert result[f'{own}.loss_cross'].item() == pytest.approx(
            alpha * np.mean(losses), rel=1e-4
        )
        chance += alpha * np.mean(levels)
        if kind == 'AimCLR':
            assert result[f'{own}.loss_d3m'].item() == pytest.approx(
                0.5 * divergence(e[own]), rel=1e-4
            )
            chance += 0.5 * math.log(K + 1)
    names = ['loss_cross', *(['loss_d3m'] if kind == 'AimCLR' else [])]
    assert set(result) == {f'{stream}.{name}' for stream in streams for name in names}
    assert model.chance_loss() == pytest.approx(chance, rel=1e-5)


def test_neighbors_of_all_queries_of_aimclr_are_positives():
    """The union is larger than what z_hat alone mines, so the loops above can tell."""
    *_, e = prepared('AimCLR', TWO)
    assert max(len(s) for s in cross_terms(e['bone'], e['motion'], 1, False)[1]) > 2


@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR'])
def test_first_stage_equals_single_streams(kind):
    model, inputs, _ = with_neighbors(kind, mining=False)
    weights = dict(alpha=2.0, beta=0.5) if kind == 'AimCLR' else {}
    singles = {stream: MODELS.build(method(kind, **weights)).train() for stream in THREE}
    for stream, single in singles.items():
        single.load_state_dict(model.streams[stream].state_dict())
    result = model(inputs, mode='loss')
    expected = {stream: single(inputs[stream], mode='loss') for stream, single in singles.items()}
    for stream, losses in expected.items():
        assert 'loss_info' in losses and ('loss_d3m' in losses) == (kind == 'AimCLR')
        assert states_equal(singles[stream], model.streams[stream])  # queue and statistics too
        for name, value in losses.items():
            assert torch.equal(result.pop(f'{stream}.{name}'), value), name
    assert not result
    chances = [single.chance_loss() for single in singles.values()]
    assert model.chance_loss() == pytest.approx(sum(chances), rel=1e-6)


@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR'])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('mining, context', [(False, True), (True, True), (True, False)])
def test_chance_is_the_loss_of_an_embedding_without_information(kind, reduction, mining, context):
    model, inputs, _ = with_neighbors(kind, TWO, mining, 2, context, reduction)
    point = torch.eye(D)[0]
    with torch.no_grad():
        for single in model.streams.values():
            single.memory_bank.keys.copy_(point.expand(K, D))
            for encoder in (single.encoder, single.key_encoder):
                encoder.head.fc[-1].weight.zero_()
                encoder.head.fc[-1].bias.copy_(point)
    result = model(inputs, mode='loss')
    total = sum(value.item() for name, value in result.items() if 'loss' in name)
    assert total == pytest.approx(model.chance_loss(), rel=1e-5)


# gradients


@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR'])
def test_gradients_reach_every_query_encoder_and_no_key(kind):
    model, inputs, _ = with_neighbors(kind)
    result = model(inputs, mode='loss')
    sum(value for name, value in result.items() if 'loss' in name).backward()
    for single in model.streams.values():
        assert all(p.grad is None and not p.requires_grad for p in single.key_encoder.parameters())
        for name, p in single.encoder.named_parameters():
            assert p.grad is not None and torch.isfinite(p.grad).all(), name
            assert p.grad.any() or name.endswith('bias'), name


@pytest.mark.parametrize('context', [True, False])
def test_context_passes_gradients_on_to_the_other_streams(context):
    model, inputs, _ = with_neighbors('SkeletonCLR', context=context)
    model(inputs, mode='loss')['joint.loss_cross'].backward()
    reached = {
        stream: any(p.grad is not None and p.grad.any() for p in single.encoder.parameters())
        for stream, single in model.streams.items()
    }
    assert reached == dict(joint=True, bone=context, motion=context)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_gradient_of_the_cross_stream_loss(reduction):
    own, other = (torch.randn(3, 1 + 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    positives = nearest_neighbors([other.detach()], 2)
    assert torch.autograd.gradcheck(
        lambda a, b: cross_stream_loss(a, b, positives, 0.5, True, reduction), (own, other)
    )


# key encoders, heads, queues


def tensors(module) -> set[int]:
    """Addresses of all tensors of a module."""
    return {value.data_ptr() for value in module.state_dict().values()}


@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR'])
def test_streams_share_no_tensors_and_keys_start_as_copies(kind):
    model = build(kind)
    model.init_weights()
    parts = [
        part
        for single in model.streams.values()
        for part in (single.encoder, single.key_encoder, single.memory_bank)
    ]
    assert len(set().union(*map(tensors, parts))) == sum(len(part.state_dict()) for part in parts)
    assert all(
        states_equal(single.encoder, single.key_encoder) for single in model.streams.values()
    )
    heads = [single.encoder.head.fc for single in model.streams.values()]
    assert [[type(layer).__name__ for layer in head] for head in heads] == [
        ['Linear', 'ReLU', 'Linear']
    ] * 3
    assert not torch.equal(heads[0][0].weight, heads[1][0].weight)  # drawn one by one
    assert model.key_distance() == 0


@pytest.mark.parametrize('mining', [False, True])
def test_momentum_moves_every_key_encoder(mining):
    model = build(single=dict(momentum=0.9))
    model.mining = mining
    before = {name: p.clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for scale, single in enumerate(model.streams.values(), start=1):
            for p in single.encoder.parameters():
                p.add_(scale)
    model.update_key_encoder()
    for scale, (stream, single) in enumerate(model.streams.items(), start=1):
        for name, p in single.key_encoder.named_parameters():
            old = before[f'streams.{stream}.key_encoder.{name}']
            torch.testing.assert_close(p, old + 0.1 * scale, rtol=0, atol=1e-5)
    distances = [single.key_distance() for single in model.streams.values()]
    assert model.key_distance() == pytest.approx(np.mean(distances)) and min(distances) > 0


@pytest.mark.parametrize('mining', [False, True])
def test_queue_of_each_stream_takes_its_own_keys(mining):
    model, inputs, e = with_neighbors('AimCLR', THREE, mining)
    before = {stream: single.memory_bank.keys.clone() for stream, single in model.streams.items()}
    model(inputs, mode='loss')
    for stream, single in model.streams.items():
        assert single.memory_bank.pointer == N
        np.testing.assert_allclose(single.memory_bank.keys[:N].numpy(), e[stream]['key'], atol=1e-6)
        assert torch.equal(single.memory_bank.keys[N:], before[stream][N:])
    for single in model.streams.values():
        single.memory_bank.pointer.fill_(K - 1)
    model(inputs, mode='loss')
    assert {single.memory_bank.pointer.item() for single in model.streams.values()} == {
        N - 1
    }  # around the end


# wrong arguments


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(streams=['joint']), r"streams=\['joint'\]; give two or three"),
        (dict(streams=[]), r'streams=\[\]'),
        (dict(streams=['joint', 'speed']), 'speed.*joint, bone, motion'),
        (dict(streams=['joint', 'bone', 'joint']), "'joint', 'bone', 'joint'"),
        (dict(topk=0), f'topk=0.*between 1 and queue_length={K}'),
        (dict(topk=K + 1), f'topk={K + 1}.*{K}'),
        (dict(mining_reduction='max'), "mining_reduction='max'"),
        (
            dict(data_preprocessor=dict(VIEWS, stream=['joint', 'speed'])),
            "stream='speed'; choose from 'joint'",
        ),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_unknown_mode():
    model = build()
    with pytest.raises(ValueError, match="mode='embed'; choose from 'loss'"):
        model({stream: views['query'] for stream, views in inputs_of(model).items()}, mode='embed')


@pytest.mark.parametrize('stream', ['bone', ['joint', 'bone']])
def test_streams_of_the_data_preprocessor_must_contain_those_of_the_model(stream):
    with pytest.raises(ValueError, match='stream'):
        build(data_preprocessor=dict(VIEWS, stream=stream))


# precision


@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR'])
@pytest.mark.parametrize('mining', [False, True])
def test_autocast_gives_finite_losses_near_those_of_float32(kind, mining):
    model, inputs, _ = with_neighbors(kind, THREE, mining)
    full = model(inputs, mode='loss')
    model, inputs, _ = with_neighbors(kind, THREE, mining)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = model(inputs, mode='loss')
    assert set(half) == set(full)
    for name, value in half.items():
        assert value.dtype == torch.float32 and torch.isfinite(value), name
        assert value.item() == pytest.approx(full[name].item(), rel=0.25, abs=0.1), name
    sum(value for name, value in half.items() if 'loss' in name).backward()
    assert all(
        torch.isfinite(p.grad).all() for s in model.streams.values() for p in s.encoder.parameters()
    )


def test_each_stream_may_have_a_method_of_its_own():
    wide = method('SkeletonCLR')
    narrow = method('SkeletonCLR')
    narrow['backbone'] = dict(narrow['backbone'], base_channels=2)
    model = MODELS.build(
        dict(type='CrossStream', model=dict(joint=wide, bone=narrow), streams=['joint', 'bone'])
    )
    joint, bone = (single.encoder.backbone.gcn[0] for single in model.streams.values())
    assert bone.gcn.bn.num_features == 2 < joint.gcn.bn.num_features

    with pytest.raises(ValueError, match='configs of joint, but'):
        MODELS.build(dict(type='CrossStream', model=dict(joint=wide), streams=['joint', 'bone']))
