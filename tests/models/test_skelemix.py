"""SkeleMix: mixed clips and masks by hand, masked pooling and the loss against float64 loops."""

import math

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from aimclr_mm.models.encoder import pool
from aimclr_mm.skeletons import NTU25
from aimclr_mm.skeletons.parts import body_parts
from aimclr_mm.transforms.functional import mix_clips
from tests.models.test_model import TAU, K, N, T, build, softmax, views

MIXING = dict(type='SkeleMix')


def test_mixed_clips_by_a_loop():
    x, mask = torch.randn(5, 2, 4, 3, 2), torch.rand(4, 3) < 0.5
    y = mix_clips(x, 3, mask)
    for i in range(5):
        for t in range(4):
            for v in range(3):
                source = (i + 3) % 5 if mask[t, v] else i
                assert torch.equal(y[i, :, t, v], x[source, :, t, v])


def test_masked_pooling_by_a_loop():
    maps, mask = torch.randn(3, 2, 4, 5, 6), torch.rand(5, 6) < 0.5
    expected = np.zeros((3, 4))
    for n in range(3):
        for c in range(4):
            values = [
                maps[n, m, c, t, v].item()
                for m in range(2)
                for t in range(5)
                for v in range(6)
                if mask[t, v]
            ]
            expected[n, c] = np.mean(values)
    np.testing.assert_allclose(pool(maps, mask).numpy(), expected, atol=1e-6)
    torch.testing.assert_close(pool(maps, torch.ones(5, 6, dtype=torch.bool)), pool(maps))


def test_body_parts_of_ntu():
    """The numbers, from 1, of the skeleton's figure in the NTU RGB+D paper."""
    numbers = {name: {joint + 1 for joint in joints} for name, joints in body_parts(NTU25).items()}
    assert numbers == dict(
        torso={1, 2, 3, 4, 21},
        left_arm={5, 6, 7, 8, 22, 23},
        right_arm={9, 10, 11, 12, 24, 25},
        left_leg={13, 14, 15, 16},
        right_leg={17, 18, 19, 20},
    )


@pytest.mark.parametrize(
    'frames, cells, fewest, most', [(64, 16, 7, 11), (50, 13, 6, 9), (4, 1, 1, 1), (1, 1, 1, 1)]
)
def test_drawn_masks(frames, cells, fewest, most):
    """2 or 3 whole parts in consecutive cells, of 16 cells 7 to 11; the mate is another clip."""
    mixing, parts = MODELS.build(MIXING), list(body_parts(NTU25).values())
    shifts, sizes, counts, starts = set(), set(), set(), set()
    for _ in range(600):
        shift, mask = mixing.draw(5, frames, torch.device('cpu'))
        assert mask.shape == (cells, 25)
        rows = mask.any(1).nonzero()[:, 0].tolist()
        assert rows == list(range(rows[0], rows[-1] + 1))
        assert torch.equal(mask[rows], mask[rows[:1]].expand(len(rows), 25))
        chosen = [joints for joints in parts if mask[rows[0], list(joints)].any()]
        assert mask[rows[0]].sum() == sum(map(len, chosen))
        shifts.add(shift)
        sizes.add(len(chosen))
        counts.add(len(rows))
        starts.add(rows[0])
    assert shifts == {1, 2, 3, 4} and sizes == {2, 3}
    assert (min(counts), max(counts)) == (fewest, most)
    assert starts == set(range(cells - fewest + 1))


def region_oracle(query, key, other, bank) -> float:
    """Return InfoNCE with the other region as one more negative, sample by sample."""
    total = 0.0
    for i in range(N):
        row = np.array([query[i] @ key[i], *(query[i] @ m for m in bank), query[i] @ other[i]])
        total -= math.log(softmax(row[None] / TAU)[0, 0])
    return total / N


@pytest.mark.parametrize('kind', ['SkeletonCLR', 'AimCLR', 'HiCLR'])
def test_loss(kind):
    mixing = dict(MIXING, repeats=2, weight=0.5)
    model = build(kind, mixing=mixing)
    inputs = views('query', 'key', 'extreme', 'masked')
    bank = model.memory_bank.keys.double().numpy().copy()
    encoder, expected = model.encoder, 0.0
    with torch.no_grad():
        key = model.key_encoder(inputs['key']).double().numpy()
    seed = 5
    torch.manual_seed(seed)
    if kind == 'HiCLR':
        model.mask_joints(inputs['masked'])  # draws before
    for _ in range(2):
        shift, mask = model.mixing.draw(N, T, torch.device('cpu'))
        frames = mask.repeat_interleave(4, 0)[:T]
        mixed = inputs['query'].clone()
        for i in range(N):
            mixed[i][:, frames] = inputs['query'][(i + shift) % N][:, frames]
        with torch.no_grad():
            maps = encoder.backbone(mixed)
            regions = []
            for region in (mask, ~mask):
                h = maps[..., region].mean(-1).mean(1)  # (N, M, C, cells) to (N, C)
                z = encoder.head(h).double().numpy()
                regions.append(z / np.linalg.norm(z, axis=1, keepdims=True))
        p, c = regions
        mates = np.stack([key[(i + shift) % N] for i in range(N)])
        expected += region_oracle(p, mates, c, bank) / 2 + region_oracle(c, key, p, bank) / 2
    torch.manual_seed(seed)
    result = model(inputs, mode='loss')
    assert result['loss_mix'].item() == pytest.approx(0.5 * expected, rel=1e-4)


def test_the_other_losses_stay():
    plain, mixed = build('AimCLR'), build('AimCLR', mixing=MIXING)
    mixed.load_state_dict(plain.state_dict())  # it has no parameters
    inputs = views()
    first, second = plain(inputs, mode='loss'), mixed(inputs, mode='loss')
    assert set(second) == {*first, 'loss_mix'}
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert torch.equal(plain.memory_bank.keys, mixed.memory_bank.keys)
    difference = mixed.chance_loss() - plain.chance_loss()
    assert difference == pytest.approx(3 * math.log(K + 2))


def test_the_other_region_gets_no_gradient_as_a_negative():
    """Else the outside of a clip would also be pushed away by the loss of its inside."""
    from aimclr_mm.models.skelemix import region_loss

    query, other = (torch.randn(N, 6, requires_grad=True) for _ in range(2))
    region_loss(query, torch.randn(N, 6), other, torch.randn(K, 6), TAU).backward()
    assert query.grad.any() and other.grad is None


@pytest.mark.parametrize('mining', [False, True])
def test_several_streams_mix_too(mining):
    from tests.models.test_cross_stream import build as build_streams
    from tests.models.test_cross_stream import inputs_of

    model = build_streams('AimCLR', single=dict(mixing=MIXING))
    model.mining = mining
    result = model(inputs_of(model), mode='loss')
    assert {'joint.loss_mix', 'bone.loss_mix', 'motion.loss_mix'} < set(result)
    assert all(torch.isfinite(value) for value in result.values())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(parts=(3, 2)), r'parts=\[3, 2\]'),
        (dict(parts=(0, 2)), r'parts=\[0, 2\]'),
        (dict(parts=(2, 5)), 'of the 5 body parts one at least must stay'),
        (dict(time=(0.5, 0.4)), r'time=\[0.5, 0.4\]'),
        (dict(time=(0.0, 0.4)), r'time=\[0.0, 0.4\]'),
        (dict(stride=0), 'stride=0'),
        (dict(repeats=0), 'repeats=0'),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(MIXING, **options))


def test_another_stride_than_that_of_the_backbone():
    model = build('SkeletonCLR', mixing=dict(MIXING, stride=8))
    with pytest.raises(ValueError, match='the feature map has 4 frames of 16.*stride=8'):
        model(views('query', 'key'), mode='loss')
