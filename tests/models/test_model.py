"""AimCLR and SkeletonCLR with a tiny encoder: losses, gradients, key encoder, modes, precision."""

import math

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch import nn

K, N, T, TAU = 32, 6, 16, 0.1
VIEWS = dict(
    type='SkeletonViews', layout='ntu25', query=[dict(type='Shear')], key=[dict(type='Shear')]
)


def build(kind: str = 'AimCLR', **options):
    """Return a model with some 5,000 weights and no dropout, in train mode."""
    cfg = dict(
        type=kind,
        backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=8, tcn_dropout=0.0),
        head=dict(type='ProjectionHead', in_channels=8, hidden_channels=8, out_channels=6),
        queue_length=K,
        temperature=TAU,
    )
    cfg.update(options)
    if cfg['backbone'].get('out_channels', 8) != 8:
        cfg['head'].update(in_channels=cfg['backbone']['out_channels'])
    if kind == 'AimCLR':
        cfg = dict(dict(eadm=dict(type='EADM')), **cfg)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


def skeletons(joints: int = 25, samples: int = N) -> torch.Tensor:
    """(N, M, T, V, C)."""
    return torch.randn(samples, 2, T, joints, 3)


def views(*names: str) -> dict[str, torch.Tensor]:
    """Return random views; all three if no names are given."""
    return {name: skeletons() for name in names or ('query', 'key', 'extreme')}


def softmax(x: np.ndarray) -> np.ndarray:
    """Return the softmax of each row, in float64."""
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@torch.no_grad()
def embed(model, inputs: dict) -> dict[str, np.ndarray]:
    """Return the embeddings of all views and the memory bank, in float64."""
    feature_map = model.encoder.backbone(inputs['extreme'])
    dropped = model.eadm(feature_map.flatten(0, 1)).view_as(feature_map)
    result = dict(
        query=model.encoder(inputs['query']),
        key=model.key_encoder(inputs['key']),
        queue=model.memory_bank.keys,
        extreme=model.encoder.project(feature_map),
        dropped=model.encoder.project(dropped),
    )
    return {name: value.double().numpy().copy() for name, value in result.items()}


def probabilities(e: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return the softmax over the own key and the bank, sample by sample (Eq. 1, 5, 6)."""
    rows = [[e[name][i] @ e['key'][i], *(e[name][i] @ m for m in e['queue'])] for i in range(N)]
    return softmax(np.array(rows) / TAU)


def mined(e: dict[str, np.ndarray]) -> list[set[int]]:
    """Return the positive sets: the own key and the bank's nearest to each of three queries."""
    return [
        {
            0,
            *(
                1 + int(np.argmax(e['queue'] @ e[name][i]))
                for name in ('query', 'extreme', 'dropped')
            ),
        }
        for i in range(N)
    ]


def divergence(e: dict[str, np.ndarray]) -> float:
    """Return the D3M loss: mean cross entropy of both extreme embeddings with the normal one."""
    teacher = probabilities(e, 'query')
    students = [
        -(teacher * np.log(probabilities(e, name))).sum(1).mean() for name in ('extreme', 'dropped')
    ]
    return sum(students) / 2


# losses


def test_losses_of_the_first_stage():
    model, inputs = build(alpha=2.0, beta=0.5), views()
    e = embed(model, inputs)
    result = model(inputs, mode='loss')
    assert set(result) == {'loss_info', 'loss_d3m'}
    assert result['loss_info'].item() == pytest.approx(
        -2 * np.log(probabilities(e, 'query')[:, 0]).mean(), rel=1e-4
    )
    assert result['loss_d3m'].item() == pytest.approx(0.5 * divergence(e), rel=1e-4)
    assert model.chance_loss() == pytest.approx(2.5 * math.log(K + 1))


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_losses_of_the_second_stage(reduction):
    model, inputs = build(alpha=2.0, beta=0.5, mining_reduction=reduction), views()
    model.mining = True
    e = embed(model, inputs)
    embeddings = np.concatenate(
        [e[name] for name in ('query', 'extreme', 'dropped')]
    )  # all their own nearest
    model.memory_bank.keys[: 3 * N] = torch.from_numpy(embeddings).float()
    e = embed(model, inputs)
    result = model(inputs, mode='loss')
    assert set(result) == {'loss_nnm', 'loss_d3m'}
    p, positives = probabilities(e, 'query'), mined(e)
    sizes = [len(s) for s in positives]
    assert max(sizes) > 2
    logs = [
        sum(np.log(p[i, j]) for j in s) / (len(s) if reduction == 'mean' else 1)
        for i, s in enumerate(positives)
    ]
    assert result['loss_nnm'].item() == pytest.approx(-2 * np.mean(logs), rel=1e-4)
    assert result['loss_d3m'].item() == pytest.approx(0.5 * divergence(e), rel=1e-4)
    weight = 2 * (np.mean(sizes) if reduction == 'sum' else 1) + 0.5
    assert model.chance_loss() == pytest.approx(weight * math.log(K + 1), rel=1e-5)


def test_eadm_none_leaves_one_extreme_embedding():
    model, inputs = build(), views()
    e = embed(model, inputs)
    model.eadm = None
    teacher, student = probabilities(e, 'query'), probabilities(e, 'extreme')
    expected = -(teacher * np.log(student)).sum(1).mean()
    assert model(inputs, mode='loss')['loss_d3m'].item() == pytest.approx(expected, rel=1e-4)


def test_info_nce_is_that_of_skeletonclr():
    model, other, inputs = build(), build('SkeletonCLR'), views()
    other.load_state_dict(model.state_dict())
    first, second = model(inputs, mode='loss'), other(inputs, mode='loss')
    assert set(second) == {'loss_info'}
    assert torch.equal(first['loss_info'], second['loss_info'])
    assert other.chance_loss() == pytest.approx(math.log(K + 1))


@pytest.mark.parametrize('stage', [False, True])
def test_chance_is_the_loss_of_an_embedding_without_information(stage):
    model = build()
    model.mining = stage
    with torch.no_grad():
        model.memory_bank.keys.copy_(torch.eye(6)[0].expand(K, 6))
        for encoder in (model.encoder, model.key_encoder):  # every sequence is embedded alike
            encoder.head.fc[-1].weight.zero_()
            encoder.head.fc[-1].bias.copy_(torch.eye(6)[0])
    result = model(views(), mode='loss')
    total = sum(value.item() for name, value in result.items() if 'loss' in name)
    assert total == pytest.approx(model.chance_loss(), rel=1e-5)


# gradients, key encoder, queue


@pytest.mark.parametrize('stage', [False, True])
def test_gradients_reach_the_query_encoder_only(stage):
    model = build()
    model.mining = stage
    result = model(views(), mode='loss')
    sum(value for name, value in result.items() if 'loss' in name).backward()
    assert all(p.grad is None and not p.requires_grad for p in model.key_encoder.parameters())
    for name, p in model.encoder.named_parameters():
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
        if not name.endswith('bias'):
            assert p.grad.any(), name
    assert len(list(model.parameters())) == 2 * len(list(model.encoder.parameters()))


def test_teacher_of_d3m_gets_no_gradient():
    model, inputs = build(), views()
    inputs['query'].requires_grad_()
    model(inputs, mode='loss')['loss_d3m'].backward()
    assert inputs['query'].grad is None


def states_equal(a: nn.Module, b: nn.Module) -> bool:
    """Return whether all tensors of two modules are equal."""
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_key_encoder_starts_as_a_copy():
    model = build()
    assert states_equal(model.key_encoder, model.encoder)
    addresses = [
        {p.data_ptr() for p in encoder.parameters()}
        for encoder in (model.encoder, model.key_encoder)
    ]
    assert not addresses[0] & addresses[1]


def test_released_init_draws_both_encoders():
    model = build(init='released')
    weights = [
        [
            m.weight.detach().flatten()
            for m in encoder.modules()
            if isinstance(m, (nn.Conv2d, nn.Linear))
        ]
        for encoder in (model.encoder, model.key_encoder)
    ]
    query, key = (torch.cat(w) for w in weights)
    assert torch.isclose(query, key, rtol=1e-3, atol=0).float().mean() < 0.01
    for drawn in (query, key):
        assert abs(drawn.std().item() - 0.02) < 0.001 and abs(drawn.mean().item()) < 0.001
    assert not any(p.any() for name, p in model.named_parameters() if name.endswith('bias'))


def test_momentum_moves_the_key_encoder():
    model = build(momentum=0.9)
    before = [p.clone() for p in model.key_encoder.parameters()]
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(1)
    model.update_key_encoder()
    for old, new in zip(before, model.key_encoder.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1, rtol=0, atol=1e-6)


def test_queue_advances_and_takes_the_keys():
    model, inputs = build(), views()
    before, e = model.memory_bank.keys.clone(), embed(model, inputs)
    model(inputs, mode='loss')
    assert model.memory_bank.pointer.item() == N
    np.testing.assert_allclose(model.memory_bank.keys[:N].numpy(), e['key'], atol=1e-6)
    assert torch.equal(model.memory_bank.keys[N:], before[N:])
    for _ in range(K // N):
        model(inputs, mode='loss')
    assert model.memory_bank.pointer.item() == (K // N + 1) * N % K


def test_queue_shorter_than_the_batch():
    model = build('SkeletonCLR')
    model.memory_bank = type(model.memory_bank)(N - 1, 6)
    with pytest.raises(ValueError, match=f'holds {N - 1} keys, but a batch over all ranks has {N}'):
        model(views('query', 'key'), mode='loss')


def test_state_of_training_is_in_the_state_dict():
    names = set(build().state_dict())
    assert {
        'memory_bank.keys',
        'memory_bank.pointer',
        'encoder.head.fc.0.weight',
        'key_encoder.head.fc.0.weight',
    } <= names


# modes


def test_representation_is_the_mean_over_frames_joints_and_people():
    model, x = build().eval(), skeletons()
    with torch.no_grad():
        h, maps = model(x), model.encoder.backbone(x)
    assert h.shape == (N, 8)
    expected = [
        [[maps[n, m, c].double().mean() for c in range(8)] for m in range(2)] for n in range(N)
    ]
    np.testing.assert_allclose(h.numpy(), np.array(expected).mean(1), atol=1e-5)


@pytest.mark.parametrize('clips', [1, 3])
def test_predict_averages_clips(clips):
    model, x = build().eval(), skeletons(samples=4 * clips)
    samples = [ActionDataSample() for _ in range(4)]
    with torch.no_grad():
        h = model(x, mode='tensor')
        assert model(x, samples, mode='predict') is samples
    for i, sample in enumerate(samples):
        assert sample.feature.shape == (8,) and sample.feature.device.type == 'cpu'
        torch.testing.assert_close(sample.feature, sum(h[i * clips : (i + 1) * clips]) / clips)


def test_unknown_mode():
    with pytest.raises(ValueError, match="mode='embed'; choose from 'loss'"):
        build()(skeletons(), mode='embed')


def test_raw_coordinates():
    model, x = MODELS.build(dict(type='RawCoordinates', data_preprocessor=VIEWS)), skeletons()
    features = model(x)
    assert torch.equal(features, x.reshape(N, -1))
    samples = model(x, [ActionDataSample() for _ in range(3)], mode='predict')
    torch.testing.assert_close(samples[1].feature, (features[2] + features[3]) / 2)
    with pytest.raises(ValueError, match='cannot be trained'):
        model(x, mode='loss')


def test_data_preprocessor_feeds_the_model():
    model = build('SkeletonCLR', data_preprocessor=VIEWS)
    batch = dict(
        inputs=list(skeletons()[:, None]), data_samples=[ActionDataSample() for _ in range(N)]
    )
    assert torch.isfinite(
        model(**model.data_preprocessor(batch, training=True), mode='loss')['loss_info']
    )
    samples = model.eval().test_step(batch)
    assert len(samples) == N and samples[0].feature.shape == (8,)


# wrong arguments and data


@pytest.mark.parametrize('mode', ['tensor', 'loss'])
def test_encoder_refuses_another_layout(mode):
    model, x = build(), skeletons(joints=20)
    with pytest.raises(ValueError, match='takes 25 joints.*data have 20 joints'):
        model(dict(query=x, key=x) if mode == 'loss' else x, mode=mode)


def test_encoder_refuses_another_number_of_channels():
    with pytest.raises(ValueError, match='3 channels, but the data have 25 joints with 2'):
        build()(skeletons()[..., :2])


def test_data_preprocessor_refuses_another_layout():
    model = build('SkeletonCLR', data_preprocessor=VIEWS)
    with pytest.raises(
        ValueError, match='25 joints and 3 coordinates, but the data have 20 joints'
    ):
        model.data_preprocessor(dict(inputs=list(skeletons(20)[:, None])), training=True)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(init='xavier'), "init='xavier'"),
        (dict(momentum=1.1), 'momentum=1.1'),
        (dict(momentum=-0.1), 'momentum=-0.1'),
        (dict(mining_reduction='max'), "mining_reduction='max'"),
        (dict(topk=-1), 'topk=-1'),
        (dict(data_preprocessor=VIEWS), 'data_preprocessor.extreme is not set.*SkeletonCLR'),
        (dict(topk=K + 1), f'topk={K + 1}.*{K}'),
        (dict(eadm=dict(type='EADM', temporal='row')), "temporal='row'"),
        (dict(data_preprocessor=dict(VIEWS, stream='speed')), "'speed'.*'joint', 'bone', 'motion'"),
        (dict(data_preprocessor=dict(VIEWS, layout='ntu')), "layout 'ntu'.*ntu25"),
        (
            dict(data_preprocessor=dict(VIEWS, key=[dict(type='mmaction.FormatGCNInput')])),
            'FormatGCNInput cannot make views',
        ),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    'options, message',
    [(dict(temperature=0.0), 'temperature=0.0'), (dict(queue_length=0), 'queue_length=0')],
)
def test_invalid_temperature_and_queue(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(
            dict(
                type='SkeletonCLR',
                backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=8),
                head=dict(type='ProjectionHead', in_channels=8),
                **options,
            )
        )


# precision


@pytest.mark.parametrize('stage', [False, True])
def test_autocast_gives_finite_losses_in_float32(stage):
    model, inputs = build(), views()
    model.mining = stage
    state = {name: value.clone() for name, value in model.state_dict().items()}
    full = model(inputs, mode='loss')
    model.load_state_dict(state)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = model(inputs, mode='loss')
    for name, value in half.items():
        assert value.dtype == torch.float32 and torch.isfinite(value), name
        assert value.item() == pytest.approx(full[name].item(), rel=0.25, abs=0.1), name
    sum(value for name, value in half.items() if 'loss' in name).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.encoder.parameters())
    assert model.memory_bank.keys.dtype == torch.float32
