"""Views and representations of several streams, and equality with the released CrosSCLR.

``data/crosclr.json`` was recorded on the CPU with net/crossclr_3views.py of LinguoLi/CrosSCLR as it
is in Levigty/AimCLR (MIT), with a separate head for each stream (there the heads of motion and bone
contain that of joint) and key encoders that do not move; the losses are those of its trainer.
Inputs and parameters follow the formulas of ``test_released`` and ``recorded_views``; the last
biases, which center the embeddings, are in the file. It keeps every 5th logit of the first stage,
and the positives of the second stage without those of the context.
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from aimclr_mm.models import SkeletonViews
from aimclr_mm.models.losses import cross_stream_loss, info_nce, nearest_neighbors
from aimclr_mm.models.methods.several_streams import compare_views
from aimclr_mm.skeletons import NTU25
from tests.models.test_cross_stream import THREE, TWO, VIEWS, build
from tests.models.test_released import parameter, released_name, tensor, wave

N, T, TAU, K = 4, 12, 0.1, 24
RECORDED = json.loads((Path(__file__).parents[1] / 'data' / 'crosclr.json').read_text())

# views and representations


def test_streams_are_formed_of_the_same_augmented_joints():
    pre, x = MODELS.build(dict(VIEWS, stream=list(THREE))), torch.randn(N, 1, 2, T, 25, 3)
    made = pre(dict(inputs=list(x)), training=True)['inputs']
    assert set(made) == set(THREE) and all(
        set(v) == {'query', 'key', 'extreme'} for v in made.values()
    )
    for name, joint in made['joint'].items():
        assert (joint - x[:, 0]).abs().max() > 0.01  # there is an augmentation
        for v, parent in enumerate(NTU25.bones):
            assert torch.equal(
                made['bone'][name][..., v, :], joint[..., v, :] - joint[..., parent, :]
            )
        for t in range(T):
            expected = (
                joint[:, :, t + 1] - joint[:, :, t]
                if t + 1 < T
                else torch.zeros_like(joint[:, :, t])
            )
            assert torch.equal(made['motion'][name][:, :, t], expected)
    assert not torch.equal(made['joint']['query'], made['joint']['key'])


@pytest.mark.parametrize('stream', THREE)
@pytest.mark.parametrize('training', [True, False])
def test_several_streams_are_those_of_single_ones(stream, training):
    data = dict(inputs=[torch.randn(1, 2, T, 25, 3) for _ in range(N)])
    several, single = (
        MODELS.build(dict(VIEWS, stream=streams)) for streams in (list(THREE), stream)
    )
    torch.manual_seed(7)
    made = several(data, training)['inputs'][stream]
    torch.manual_seed(7)
    alone = single(data, training)['inputs']
    pairs = [(made[name], alone[name]) for name in alone] if training else [(made, alone)]
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    'streams, weights',
    [(THREE, (0.6, 0.6, 0.4)), (TWO, (0.6, 0.4)), (('motion', 'joint'), (0.4, 0.6))],
)
def test_cosines_are_the_weighted_mean_of_those_of_the_streams(streams, weights):
    model = build(streams=streams).eval()
    inputs = {stream: (i + 1.0) * torch.randn(N, 2, T, 25, 3) for i, stream in enumerate(streams)}
    with torch.no_grad():
        fused = model(inputs, mode='tensor').double()
        parts = [model.streams[stream](inputs[stream]).double() for stream in streams]
        samples = model(inputs, [ActionDataSample() for _ in range(N)], mode='predict')
    assert fused.shape == (N, 8 * len(streams))
    for i in range(N):
        torch.testing.assert_close(samples[i].feature.double(), fused[i])
        for j in range(N):
            each = [float(h[i] @ h[j] / h[i].norm() / h[j].norm()) for h in parts]
            expected = sum(w * c for w, c in zip(weights, each)) / sum(weights)
            assert float(fused[i] @ fused[j] / fused[i].norm() / fused[j].norm()) == pytest.approx(
                expected, abs=1e-6
            )


def test_data_preprocessor_feeds_the_model():
    model = build('AimCLR', data_preprocessor=dict(VIEWS, stream=list(THREE)))
    model.mining = True
    batch = dict(
        inputs=[torch.randn(1, 2, T, 25, 3) for _ in range(N)],
        data_samples=[ActionDataSample() for _ in range(N)],
    )
    result = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert all(torch.isfinite(value) for value in result.values())
    samples = model.eval().test_step(batch)
    assert len(samples) == N and samples[0].feature.shape == (24,)


# the released code


def recorded_views() -> dict[str, torch.Tensor]:
    """Query and key view (4, 2, 12, 25, 3) of the recording."""
    n, m, t, v, c = np.ogrid[:N, :2, :T, :25, :3]
    base = np.sin(1.7 * n * n + 1.3 * c * (n + 1) + 0.9 * m) * (1 + t + 0.5 * v)
    return {
        name: tensor(base + 0.5 * wave((N, 2, T, 25, 3), k))
        for name, k in (('query', 5), ('key', 6))
    }


@pytest.fixture(scope='module')
def recorded():
    """The model with the recorded parameters, the recorded inputs, and each stream's logits."""
    cfg = dict(
        type='SkeletonCLR',
        backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=16),
        head=dict(type='ProjectionHead', in_channels=16, hidden_channels=16, out_channels=8),
        queue_length=K,
        temperature=TAU,
    )
    model = MODELS.build(dict(type='CrossStream', streams=THREE, model=cfg)).eval()
    for i, (stream, single) in enumerate(model.streams.items()):
        for j, (side, encoder) in enumerate((('q', single.encoder), ('k', single.key_encoder))):
            state = encoder.state_dict()
            names = {
                released_name(n): n for n in state if not n.endswith(('.A', 'num_batches_tracked'))
            }
            for k, name in enumerate(sorted(names)):
                shape = tuple(state[names[name]].shape)
                state[names[name]] = tensor(parameter(shape, name, k + 200 * i + 10 * j))
            state['head.fc.2.bias'] = tensor(RECORDED['biases'][f'{stream}.{side}'])
            encoder.load_state_dict(state)
        single.memory_bank.keys.copy_(F.normalize(tensor(wave((K, 8), 6 + i)), dim=1))
    inputs = SkeletonViews('ntu25', THREE).form_streams(recorded_views())
    used = copy.deepcopy(model)  # its memory banks move on
    with torch.no_grad():
        logits = {
            stream: compare_views(single, inputs[stream])[0][0]
            for stream, single in used.streams.items()
        }
    return model, inputs, logits


@pytest.mark.parametrize('stream', THREE)
def test_first_stage_of_the_released_code(recorded, stream):
    logits, expected = recorded[2][stream], RECORDED['first'][stream]
    np.testing.assert_allclose(logits.flatten()[::5].numpy(), expected['logits'], atol=1e-3)
    assert info_nce(logits).item() == pytest.approx(expected['loss'], rel=1e-4)


@pytest.mark.parametrize('name', RECORDED['cross'])
def test_second_stage_of_the_released_code(recorded, name):
    model, inputs, logits = recorded
    model = copy.deepcopy(model)
    model.topk, model.context = int(name[3]), name.endswith('_context')
    pairs = {tuple(pair.split()): values for pair, values in RECORDED['cross'][name].items()}
    assert set(pairs) == {(own, other) for own in THREE for other in THREE if own != other}
    for (own, other), expected in pairs.items():
        positives = nearest_neighbors([logits[other]], model.topk)
        assert [row.nonzero().flatten().tolist() for row in positives] == expected['positives'], (
            own,
            other,
        )
        loss = cross_stream_loss(logits[own], logits[other], positives, TAU, model.context)
        assert loss.item() == pytest.approx(expected['loss'], rel=1e-4), (own, other)

    with torch.no_grad():
        losses = model.cross_losses(inputs)
    for own in THREE:
        expected = np.mean([values['loss'] for pair, values in pairs.items() if pair[0] == own])
        assert losses[own]['loss_cross'].item() == pytest.approx(expected, rel=1e-4)
