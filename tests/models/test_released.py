"""Equality with the released code, number by number.

``data/released.json`` was recorded by running Levigty/AimCLR (MIT) on the CPU. Inputs and
parameters follow the formulas of ``wave``, ``parameter``, ``skeletons`` and ``clip`` below.
Every 37th value of long results is kept, and every 7th of the feature map in the order
(M, T, V, C). Random parameters were given, not drawn.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aimclr_mm.models.eadm import EADM
from aimclr_mm.models.encoder import Encoder
from aimclr_mm.models.losses import (
    contrastive_logits,
    d3m,
    info_nce,
    mining_loss,
    nearest_neighbors,
)
from aimclr_mm.transforms import (
    AlignShoulders,
    AxisMask,
    CenterSkeleton,
    GaussianBlur,
    GaussianNoise,
    ResizeClip,
    Rotate,
    Shear,
    SpatialFlip,
    TemporalCrop,
    TemporalFlip,
)

RELEASED = json.loads((Path(__file__).parents[1] / 'data' / 'released.json').read_text())
BACKBONE = dict(
    type='AimCLRSTGCN',
    layout='ntu25',
    in_channels=3,
    base_channels=16,
    out_channels=256,
    tcn_dropout=0.5,
)


def wave(shape: tuple, k: float) -> np.ndarray:
    """sin(0.37 i^2 + k) of the flat index i."""
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    return np.sin(0.37 * i * i + k).reshape(shape)


def parameter(shape: tuple, name: str, k: int) -> np.ndarray:
    """The k-th tensor of the encoder, of which ``name`` is the released name."""
    v = wave(shape, k)
    if name.startswith('edge_importance'):
        return 1 + 0.3 * v
    if name.endswith('running_var'):
        return 1 + 0.5 * v
    if len(shape) == 1:
        return 1 + 0.2 * v if name.endswith('weight') else 0.02 * v
    return 1.5 * v / np.sqrt(np.prod(shape[1:]))


def skeletons() -> np.ndarray:
    """(2, 2, 50, 25, 3); the second sample lacks the second person."""
    n, m, t, v, c = np.ogrid[:2, :2, :50, :25, :3]
    x = np.sin((0.13 + 0.4 * n) * t + (0.7 + n) * v + 1.9 * c + 2.3 * m)
    return (x + (1 - n) * wave((2, 2, 50, 25, 3), 5)) * (1 - m * n)


def clip(frames: int, people: int) -> np.ndarray:
    """(people, frames, 25, 3) raw recording that turns and walks."""
    m, t, v, c = np.ogrid[:people, :frames, :25, :3]
    pose, path = (
        np.sin(0.05 * t + 0.7 * v + 1.9 * c + 2.3 * m),
        np.cos(0.021 * t * (c + 1) + 1.3 * m),
    )
    return pose + path + (c == 2) * 3.0 + 0.05 * wave((people, frames, 25, 3), 8)


def tensor(array) -> torch.Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def thin(x: torch.Tensor, step: int = 37) -> np.ndarray:
    return np.ascontiguousarray(x.detach().numpy()).ravel()[::step]


def released_name(name: str) -> str:
    """Name of one of our encoder's tensors in a released checkpoint."""
    name = name.removeprefix('backbone.').removeprefix('head.')
    name = re.sub(r'^gcn\.(\d+)\.gcn\.PA$', r'edge_importance.\1', name)
    name = re.sub(r'^gcn\.(\d+)\.', r'st_gcn_networks.\1.', name)
    for ours, theirs in (
        ('gcn.bn', 'tcn.0'),
        ('tcn.conv', 'tcn.2'),
        ('tcn.bn', 'tcn.3'),
        ('residual.conv', 'residual.0'),
        ('residual.bn', 'residual.1'),
    ):
        name = name.replace(f'.{ours}.', f'.{theirs}.')
    return name


@pytest.fixture(scope='module', params=['AimCLRSTGCN', 'FastSTGCN'])
def feature_map(request):
    """The encoder with the recorded parameters in eval mode, and its feature map."""
    encoder = Encoder(dict(BACKBONE, type=request.param), dict(type='ProjectionHead')).eval()
    state = encoder.state_dict()
    names = {released_name(n): n for n in state if not n.endswith(('.A', 'num_batches_tracked'))}
    for k, name in enumerate(sorted(names)):
        shape = tuple(state[names[name]].shape)
        state[names[name]] = tensor(parameter(shape, name, k))
    encoder.load_state_dict(state)
    with torch.no_grad():
        return encoder, encoder.backbone(tensor(skeletons()))


def test_key_map_is_one_to_one():
    state = Encoder(BACKBONE, dict(type='ProjectionHead')).state_dict()
    names = [released_name(n) for n in state if not n.endswith('.A')]
    assert len(set(names)) == len(names) == 180
    assert {n.split('.')[0] for n in names} == {
        'data_bn',
        'edge_importance',
        'fc',
        'st_gcn_networks',
    }


def test_embedding(feature_map):
    encoder, features = feature_map
    with torch.no_grad():
        assert features.shape == (2, 2, 256, 13, 25) and 0.1 < features.abs().mean() < 10
        released = tensor(RELEASED['embedding']).view(2, 128)
        np.testing.assert_allclose(
            encoder(tensor(skeletons())), F.normalize(released, dim=1), atol=1e-5
        )
        ours = encoder.head(features.mean(dim=(3, 4)).mean(dim=1))
        np.testing.assert_allclose(ours, released, atol=1e-5)


def test_embedding_after_drop(feature_map):
    encoder, features = feature_map
    dropped = EADM(keep_margin=0.7, unbiased=True)(features.flatten(0, 1)).view_as(features)
    assert 0.05 < ((dropped == 0) & (features != 0)).float().mean() < 0.3
    released = F.normalize(tensor(RELEASED['embedding_dropped']).view(2, 128), dim=1)
    with torch.no_grad():
        np.testing.assert_allclose(encoder.project(dropped), released, atol=1e-5)
        assert (encoder.project(features) - released).abs().max() > 1e-3


def test_drop_module_with_joint_and_element_masks():
    y = wave((2, 4, 13, 25), 3)
    y[0, :, :, 7] += 6
    y[1, 2, 5:8] -= 2
    ours = EADM(keep_margin=0.7, unbiased=True)(tensor(y))
    assert (ours[0, :, :, 7] == 0).all() and not (ours == 0).flatten(1, 2).all(dim=1)[1].any()
    np.testing.assert_allclose(thin(ours, 7), RELEASED['dropped_map'], atol=1e-5)


@pytest.fixture(scope='module')
def logits():
    """Logits (6, 65) of the normal, extreme and dropped query, temperature 0.07."""
    base = tensor(wave((6, 16), 1))
    key, extreme, dropped = (
        F.normalize(base + a * tensor(wave((6, 16), k)), dim=1)
        for a, k in ((0.5, 2), (1.5, 3), (2.5, 4))
    )
    queue = F.normalize(tensor(wave((64, 16), 6)), dim=1)
    return [
        contrastive_logits(q, key, queue, 0.07)
        for q in (F.normalize(base, dim=1), extreme, dropped)
    ]


def test_first_stage_losses(logits):
    normal, extreme, dropped = logits
    parts = [info_nce(normal), d3m(normal, extreme), d3m(normal, dropped)]
    expected = RELEASED['losses']
    for loss, name in zip(parts, ('info', 'd3m_extreme', 'd3m_dropped')):
        assert loss.item() == pytest.approx(expected[name], rel=1e-5), name
    assert (parts[0] + (parts[1] + parts[2]) / 2).item() == pytest.approx(
        expected['total_stage1'], rel=1e-5
    )


@pytest.mark.parametrize('k', [1, 3])
def test_second_stage_loss(logits, k):
    normal, extreme, dropped = logits
    positives = nearest_neighbors(logits, k)
    expected = RELEASED['losses']
    assert positives.sum(dim=1).tolist() == expected[f'positives_top{k}']
    mining = mining_loss(normal, positives, 'mean')
    assert mining.item() == pytest.approx(expected[f'mining_top{k}'], rel=1e-5)
    total = mining + (d3m(normal, extreme) + d3m(normal, dropped)) / 2
    assert total.item() == pytest.approx(expected[f'total_top{k}'], rel=1e-5)


@pytest.mark.parametrize('index, frames, people', [(0, 83, 1), (1, 137, 2)])
def test_preprocessing(index, frames, people):
    raw = np.zeros((1, 2, 300, 25, 3))
    raw[0, :people, :frames] = clip(frames, people)
    padded = tensor(raw)
    results = dict(keypoint=raw[0, :, :frames], total_frames=frames)
    for transform in (CenterSkeleton(), ResizeClip(length=50), AlignShoulders()):
        padded, results = transform.batch(padded), transform(results)
    expected = np.array(RELEASED['preprocessed'][index])
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(thin(padded), expected, atol=1e-4)
    np.testing.assert_allclose(results['keypoint'].ravel()[::37], expected, atol=1e-4)


SHEAR = [[9.0, 0.1, -0.4], [-0.2, 9.0, 0.5], [0.3, -0.25, 9.0]]
AUGMENTATIONS = [
    ('crop_0', TemporalCrop(), dict(start=0)),
    ('crop_13', TemporalCrop(), dict(start=13)),
    ('crop_16', TemporalCrop(), dict(start=16)),
    ('shear', Shear(), dict(factors=SHEAR)),
    ('spatial_flip', SpatialFlip(), {}),
    ('rotate_0', Rotate(), dict(degrees=[29.0, 0.4, 0.9])),
    ('rotate_1', Rotate(), dict(degrees=[0.3, 17.0, 0.8])),
    ('rotate_2', Rotate(), dict(degrees=[0.7, 0.2, 23.0])),
    ('noise', GaussianNoise(), dict(noise=0.01 * wave((2, 50, 25, 3), 7))),
    ('blur_0.3', GaussianBlur(normalized=False), dict(sigma=0.3)),
    ('blur_1.7', GaussianBlur(normalized=False), dict(sigma=1.7)),
    ('axis_mask_1', AxisMask(), dict(axis=1)),
    ('temporal_flip', TemporalFlip(), {}),
]


@pytest.mark.parametrize(
    'name, transform, params', AUGMENTATIONS, ids=[a[0] for a in AUGMENTATIONS]
)
def test_augmentation(name, transform, params):
    x = tensor(skeletons()[:1])
    ours = transform.apply(
        x,
        **{
            key: torch.tensor(np.array([value])).to(
                torch.long if key in ('start', 'axis') else torch.float32
            )
            for key, value in params.items()
        },
    )
    np.testing.assert_allclose(thin(ours), RELEASED['augmented'][name], atol=1e-5)


def test_every_recorded_augmentation_is_compared():
    assert {a[0] for a in AUGMENTATIONS} == set(RELEASED['augmented'])
