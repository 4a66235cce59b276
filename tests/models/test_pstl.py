"""PSTL against its equations in float64, its masks by hand, and Barlow Twins on known cases."""

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from aimclr_mm.models.losses import barlow_twins
from aimclr_mm.skeletons import KINECT20, NTU25
from aimclr_mm.transforms.functional import calm_frames
from tests.models.test_model import VIEWS, skeletons

N, T, D, LAMBDA = 6, 20, 12, 2e-2
NAMES = ('query', 'key', 'masked')


def build(backbone: str = 'AimCLRSTGCN', joints: str = 'ntu25', **options):
    """Return a small model without dropout, in train mode."""
    cfg = dict(
        type='PSTL',
        backbone=dict(
            type=backbone, layout=joints, base_channels=4, out_channels=8, tcn_dropout=0.0
        ),
        head=dict(
            type='ProjectionHead',
            in_channels=8,
            hidden_channels=10,
            out_channels=D,
            num_layers=3,
            batch_norm=True,
        ),
        off_diagonal=LAMBDA,
        layout=joints,
    )
    model = MODELS.build(dict(cfg, **options))
    model.init_weights()
    return model.train()


def views(joints: int = 25) -> dict[str, torch.Tensor]:
    """Return random views (N, M, T, V, C)."""
    return {name: torch.randn(N, 2, T, joints, 3) for name in NAMES}


def barlow_oracle(a: np.ndarray, b: np.ndarray, weight: float) -> float:
    """Return the loss by a loop over pairs of dimensions; batch norm adds 1e-5 to variances."""
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            x, y = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
            c = (x * y).mean() / np.sqrt(((x**2).mean() + 1e-5) * ((y**2).mean() + 1e-5))
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


def test_barlow_twins_equals_the_loop():
    a, b = torch.randn(9, 5) * 3 + 2, torch.randn(9, 5) - 1
    expected = barlow_oracle(a.double().numpy(), b.double().numpy(), 0.3)
    assert barlow_twins(a, b, 0.3).item() == pytest.approx(expected, rel=1e-5)


def test_barlow_twins_of_known_cases():
    """Orthogonal columns of a Hadamard matrix: zero for equal views, 4 for opposite signs."""
    h = torch.tensor([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1.0]])
    assert barlow_twins(h, h, 1.0).item() == pytest.approx(0, abs=1e-8)
    assert barlow_twins(h, -h, 1.0).item() == pytest.approx(3 * 4, rel=1e-4)
    assert barlow_twins(h, h[:, [1, 2, 0]], 0.5).item() == pytest.approx(3 + 3 * 0.5, rel=1e-4)
    assert barlow_twins(torch.ones(4, 3), h, 1.0).item() == pytest.approx(3)  # chance


def embeddings(model, inputs: dict, frames: torch.Tensor, joints: list[int]) -> list[np.ndarray]:
    """Return the embeddings of the three views, in float64, for given parts."""
    backbone, head = model.encoder.backbone, model.encoder.head
    maps = [backbone(inputs['key']), backbone(inputs['query'][:, :, frames])]
    maps.append(on_subgraph(backbone, inputs['masked'], joints))
    with torch.no_grad():
        return [head(y.mean(dim=(1, 3, 4))).double().numpy() for y in maps]


def on_subgraph(backbone, x: torch.Tensor, joints: list[int]) -> torch.Tensor:
    """Compute each block by its equations, with the adjacency of these joints only."""
    n, m, frames, v, c = x.shape
    y = backbone.data_bn(x.permute(0, 1, 3, 4, 2).reshape(n * m, v * c, frames))
    y = y.view(n * m, v, c, frames)[:, joints].permute(0, 2, 3, 1)
    for block in backbone.gcn:
        unit, total = block.gcn, 0
        subsets = unit.conv(y).chunk(len(unit.A), dim=1)
        for k, part in enumerate(subsets):
            adjacency = (unit.A[k] * unit.PA[k])[joints][:, joints]
            total = total + torch.einsum('nctv,vw->nctw', part, adjacency)
        z = block.tcn(torch.relu(unit.bn(total)))
        residual = block.residual(y)
        y = torch.relu(z + residual)
    return y.unflatten(0, (n, m))


@pytest.mark.parametrize('backbone', ['AimCLRSTGCN', 'FastSTGCN'])
def test_losses(backbone):
    model, inputs = build(backbone), views()
    still = inputs[
        'query'
    ].clone()  # frames 4 to 19 stand still; the first four of them stay random
    still[:, :, 4:] = still[:, :, 4:5]
    inputs['query'] = still
    torch.manual_seed(5)
    first = model.mask_frames(inputs['query'])
    joints = model.draw_joints()
    torch.manual_seed(5)
    result = model(inputs, mode='loss')
    assert set(result) == {'loss_frames', 'loss_joints'} and first.shape[2] == T - 8

    frames = torch.tensor([4] * (T - 8))  # what stays are frames that do not move
    assert torch.equal(first, inputs['query'][:, :, frames])
    whole, part, few = embeddings(model, inputs, frames, joints.tolist())
    assert result['loss_frames'].item() == pytest.approx(
        barlow_oracle(whole, part, LAMBDA), rel=1e-4
    )
    assert result['loss_joints'].item() == pytest.approx(
        barlow_oracle(whole, few, LAMBDA), rel=1e-4
    )
    assert model.chance_loss() == 2 * D


def test_the_calmest_frames_by_a_loop():
    x = torch.randn(4, 2, 11, 5, 3)
    for i, frames in enumerate(calm_frames(x, 6).tolist()):
        motion = [
            float((x[i, :, t + 1] - x[i, :, t]).double().square().mean()) for t in range(10)
        ] + [0.0]
        assert frames == sorted(sorted(range(11), key=motion.__getitem__)[:6])


def test_random_frames_leave_in_order_of_time():
    model, x = build(), torch.arange(T).float().square()[None, None, :, None, None]
    kept = set()
    for _ in range(200):
        y = model.mask_frames(x.expand(2, 1, T, 25, 3))
        frames = y[0, 0, :, 0, 0].sqrt().round().long().tolist()
        assert frames == sorted(set(frames)) and len(frames) == T - 8
        assert torch.equal(y[0], y[1])
        kept.update(frames)
    # the last four before the end move most; the last frame counts as still
    assert kept == {*range(T - 5), T - 1}


def test_joints_are_lost_by_their_degree():
    """The first of 8 draws is proportional to the degree; the chest, with four, is lost most."""
    model = build()
    lost = torch.zeros(25)
    for _ in range(4000):
        stays = model.draw_joints()
        assert len(stays) == 17 and torch.equal(stays, stays.unique())
        mask = torch.ones(25, dtype=torch.bool)
        mask[stays] = False
        lost += mask
    share = lost / 4000
    assert share.argmax() == NTU25.index('spine_shoulder') and share.sum() == pytest.approx(
        8, abs=1e-3
    )
    degrees = torch.tensor(NTU25.degrees)
    means = [share[degrees == d].mean().item() for d in sorted(set(NTU25.degrees))]
    assert means == sorted(means) and means[0] < 0.25 < means[-1]


def test_degrees_by_hand():
    named = dict(zip(NTU25.joints, NTU25.degrees))
    assert named['spine_shoulder'] == 4 and named['head'] == 1 and named['left_knee'] == 2
    for layout in (NTU25, KINECT20):
        assert sum(layout.degrees) == 2 * (layout.num_joints - 1)  # a tree


def test_gradients_reach_all_parameters():
    model = build()
    sum(model(views(), mode='loss').values()).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name


@pytest.mark.parametrize('layout, joints', [('kinect20', 20), ('ntu25', 25)])
def test_data_preprocessor_feeds_the_model(layout, joints):
    normal = [dict(type='Shear')]
    preprocessor = dict(VIEWS, layout=layout, query=normal, key=normal, others=dict(masked=normal))
    model = build('FastSTGCN', layout, data_preprocessor=preprocessor)
    batch = dict(
        inputs=list(skeletons(joints)[:, None]),
        data_samples=[ActionDataSample() for _ in range(N)],
    )
    result = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert all(torch.isfinite(value) for value in result.values())
    samples = model.eval().test_step(batch)
    assert len(samples) == N and samples[0].feature.shape == (8,)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(frame_ratio=0.5), 'frame_ratio=0.5'),
        (dict(joint_ratio=1.0), 'joint_ratio=1.0'),
        (dict(data_preprocessor=VIEWS), 'others.masked'),
        (dict(backbone=dict(type='SkeletonAAGCN')), 'SkeletonAAGCN cannot leave out joints'),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options) if 'backbone' not in options else MODELS.build(
            dict(type='PSTL', head=dict(type='ProjectionHead'), **options)
        )


@pytest.mark.parametrize('kind', ['Linear ReLU Linear', 'Linear BatchNorm1d ReLU Linear', 'Linear'])
def test_layers_of_the_head(kind):
    options = dict(num_layers=1 + kind.count('ReLU'), batch_norm='BatchNorm1d' in kind)
    head = MODELS.build(
        dict(type='ProjectionHead', in_channels=4, hidden_channels=5, out_channels=3, **options)
    )
    assert ' '.join(type(layer).__name__ for layer in head.fc) == kind
    assert head(torch.randn(6, 4)).shape == (6, 3)


def test_a_head_has_a_layer():
    with pytest.raises(ValueError, match='num_layers=0'):
        MODELS.build(dict(type='ProjectionHead', num_layers=0))
