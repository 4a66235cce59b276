"""The eight augmentations and the streams against NumPy loops over every joint."""

import math

import numpy as np
import pytest
import torch
from mmaction.registry import TRANSFORMS

from aimclr_mm.skeletons import COCO17, NTU25
from aimclr_mm.transforms import (
    AxisMask,
    GaussianBlur,
    GaussianNoise,
    Rotate,
    Shear,
    SpatialFlip,
    TemporalCrop,
    TemporalFlip,
)
from aimclr_mm.transforms.functional import select_stream
from tests.skeletons.conventions import COCO_MIRROR, NTU_MIRROR

N, M, T = 3, 2, 13
ALL = [
    'TemporalCrop',
    'Shear',
    'SpatialFlip',
    'Rotate',
    'GaussianNoise',
    'GaussianBlur',
    'AxisMask',
    'TemporalFlip',
]
MIRRORS = {'ntu25': NTU_MIRROR, 'coco17': COCO_MIRROR}
# layout, coordinates d, channels C; the last channel may be a score
KINDS = [('ntu25', 3, 3), ('ntu25', 3, 4), ('coco17', 2, 2), ('coco17', 2, 3)]
kinds = pytest.mark.parametrize('layout, d, c', KINDS)


def skeletons(layout='ntu25', c=3, n=N, t=T) -> torch.Tensor:
    return torch.randn(n, M, t, len(MIRRORS[layout]), c)


def close(ours: torch.Tensor, expected: np.ndarray, atol=1e-5) -> None:
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), expected, atol=atol, rtol=1e-5)


def each_joint(x: torch.Tensor, d: int, function) -> np.ndarray:
    """Apply ``function(sample, coordinates)`` to the coordinates of every joint in every frame."""
    y = x.numpy().astype(np.float64)
    for n, m, t, v in np.ndindex(*y.shape[:4]):
        y[n, m, t, v, :d] = function(n, y[n, m, t, v, :d])
    return y


# --- apply() with given parameters ---


@kinds
def test_shear(layout, d, c):
    x, factors = skeletons(layout, c), torch.rand(N, d, d) - 0.5

    def shear(n, p):
        return [
            sum((1.0 if i == j else factors[n, i, j].item()) * p[j] for j in range(d))
            for i in range(d)
        ]

    close(Shear(layout=layout).apply(x, factors=factors), each_joint(x, d, shear))


def test_rotate_in_space():
    x, degrees = (
        skeletons(c=4),
        torch.tensor([[30.0, 0.5, 0.2], [0.9, 25.0, 1.0], [-10.0, 80.0, 140.0]]),
    )

    def rotate(n, p):
        px, py, pz = p
        ax, ay, az = (math.radians(a) for a in degrees[n].tolist())
        py, pz = py * math.cos(ax) + pz * math.sin(ax), pz * math.cos(ax) - py * math.sin(ax)
        px, pz = px * math.cos(ay) - pz * math.sin(ay), pz * math.cos(ay) + px * math.sin(ay)
        return px * math.cos(az) + py * math.sin(az), py * math.cos(az) - px * math.sin(az), pz

    close(Rotate().apply(x, degrees=degrees), each_joint(x, 3, rotate))


def test_rotate_in_the_plane():
    x, degrees = skeletons('coco17', 3), torch.tensor([[30.0], [-100.0], [0.5]])

    def rotate(n, p):
        angle = np.angle(p[0] + 1j * p[1]) - math.radians(degrees[n].item())
        return np.hypot(*p) * np.cos(angle), np.hypot(*p) * np.sin(angle)

    close(Rotate(layout='coco17').apply(x, degrees=degrees), each_joint(x, 2, rotate))


@pytest.mark.parametrize('layout, axes', [('ntu25', 3), ('coco17', 1)])
def test_rotate_keeps_bone_lengths(layout, axes):
    transform, d = Rotate(layout=layout), 3 if axes == 3 else 2
    x = skeletons(layout, d)
    lengths = [
        (y - y[..., list(transform.layout.bones), :]).norm(dim=-1)
        for y in (x, transform.apply(x, degrees=360 * torch.rand(N, axes)))
    ]
    torch.testing.assert_close(*lengths)


@kinds
@pytest.mark.parametrize('t, ratio', [(T, 6), (T, 4), (50, 6), (T, 1), (5, 6)])
def test_crop(layout, d, c, t, ratio):
    x, padding = skeletons(layout, c, t=t), t // ratio
    start = torch.tensor([0, padding, 2 * padding])
    expected = np.empty(x.shape)
    for n in range(N):
        for m in range(M):
            frames = list(x[n, m].numpy())
            mirrored = frames[:padding][::-1] + frames + frames[t - padding :][::-1]
            expected[n, m] = mirrored[start[n] : start[n] + t]
    ours = TemporalCrop(ratio, layout=layout).apply(x, start=start)
    np.testing.assert_array_equal(ours.numpy(), expected)
    np.testing.assert_array_equal(ours[1], x[1])  # the middle window is the clip itself


def test_crop_of_a_clip_shorter_than_the_ratio_is_the_clip():
    x = skeletons(t=5)
    assert TemporalCrop(padding_ratio=6).draw(x)['start'].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(TemporalCrop(padding_ratio=6).batch(x), x)


@kinds
def test_spatial_flip(layout, d, c):
    x, flip = skeletons(layout, c), SpatialFlip(layout=layout)
    expected = x.numpy().copy()
    for v, mirror in enumerate(MIRRORS[layout]):
        expected[:, :, :, v] = x[:, :, :, mirror].numpy()  # coordinates and score of the other side
    np.testing.assert_array_equal(flip.apply(x), expected)
    np.testing.assert_array_equal(flip.apply(flip.apply(x)), x)


@kinds
def test_temporal_flip(layout, d, c):
    x, flip = skeletons(layout, c), TemporalFlip(layout=layout)
    backwards = [[list(person)[::-1] for person in sample] for sample in x.numpy()]
    np.testing.assert_array_equal(flip.apply(x), backwards)
    np.testing.assert_array_equal(flip.apply(flip.apply(x)), x)


@kinds
def test_axis_mask(layout, d, c):
    x, axis = skeletons(layout, c), torch.tensor([0, 1, d - 1])
    expected = x.numpy().copy()
    for n, a in enumerate(axis.tolist()):
        expected[n, :, :, :, a] = 0
    np.testing.assert_array_equal(AxisMask(layout=layout).apply(x, axis=axis), expected)


@kinds
def test_noise(layout, d, c):
    x, transform = skeletons(layout, c), GaussianNoise(std=0.3, layout=layout)
    noise = transform.draw(x)['noise']
    assert (noise[..., d:] == 0).all()
    assert 0.27 < noise[..., :d].std() < 0.33 and noise[..., :d].mean().abs() < 0.03
    assert noise.flatten().unique().numel() >= N * M * T * len(MIRRORS[layout]) * d * 0.99
    close(transform.apply(x, noise=noise), x.numpy().astype(np.float64) + noise.numpy())


@kinds
@pytest.mark.parametrize('normalized', [True, False])
@pytest.mark.parametrize('taps', [15, 3])
def test_blur(layout, d, c, normalized, taps):
    x, sigma = skeletons(layout, c, t=9), torch.tensor([0.1, 0.8, 2.0])
    expected = x.numpy().astype(np.float64)
    for n in range(N):
        variance, offsets = sigma[n].item() ** 2, range(-(taps // 2), taps // 2 + 1)
        kernel = {o: math.exp(-o * o / (2 * variance)) for o in offsets}
        gain = sum(kernel.values()) if normalized else 1.0
        for t in range(9):
            inside = {o: w for o, w in kernel.items() if 0 <= t + o < 9}
            expected[n, :, t, :, :d] = sum(
                w / gain * x[n, :, t + o, :, :d].double().numpy() for o, w in inside.items()
            )
    close(
        GaussianBlur(taps=taps, normalized=normalized, layout=layout).apply(x, sigma=sigma),
        expected,
    )


@pytest.mark.parametrize('normalized, gain', [(True, 1.0), (False, 5.013)])
def test_blur_gain(normalized, gain):
    """A still skeleton, away from the ends: sigma 2 gives sqrt(2 pi) 2 without normalization."""
    x = torch.ones(1, 1, 31, 25, 3)
    y = GaussianBlur(normalized=normalized).apply(x, sigma=torch.tensor([2.0]))
    assert y[0, 0, 15].numpy() == pytest.approx(gain, abs=2e-3)


NEUTRAL = [
    (Shear(), dict(factors=torch.zeros(N, 3, 3))),
    (Rotate(), dict(degrees=torch.zeros(N, 3))),
    (GaussianNoise(), dict(noise=torch.zeros(N, M, T, 25, 3))),
    (GaussianBlur(), dict(sigma=torch.full((N,), 1e-3))),
    (TemporalCrop(), dict(start=torch.full((N,), T // 6))),
]


@pytest.mark.parametrize('transform, params', NEUTRAL, ids=[type(t).__name__ for t, _ in NEUTRAL])
def test_identity_at_neutral_parameters(transform, params):
    x = skeletons()
    close(transform.apply(x, **params), x.numpy(), atol=1e-6)


# --- draw() and p ---

MANY = torch.zeros(4000, 1, 12, 25, 3)


def test_shear_draws():
    factors = Shear().draw(MANY)['factors']
    off = factors[:, ~torch.eye(3, dtype=torch.bool)]
    assert off.min() < -0.49 and off.max() > 0.49 and factors.abs().max() <= 0.5
    assert off.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.01)
    correlation = torch.corrcoef(off.T) - torch.eye(6)
    assert correlation.abs().max() < 0.1  # all six independent
    assert Shear(amplitude=0.1).draw(MANY)['factors'].abs().max() <= 0.1


def test_rotation_draws():
    degrees = Rotate().draw(MANY)['degrees']
    assert degrees.min() >= 0 and degrees.max() <= 30
    main = degrees.argmax(dim=1)[(degrees > 1).any(dim=1)]
    assert ((degrees > 1).sum(dim=1) <= 1).all()  # one main axis, the others up to 1
    assert 0.94 < (degrees > 1).any(dim=1).float().mean() < 0.99  # 29 of 30
    for axis in range(3):
        assert 0.30 < (main == axis).float().mean() < 0.37
    large = degrees.max(dim=1).values
    assert large.max() > 29.5 and large.mean().item() == pytest.approx(15, abs=0.6)
    assert degrees.median(dim=1).values.max() <= 1


def test_rotation_draws_in_the_plane():
    degrees = Rotate(main_degrees=20, layout='coco17').draw(torch.zeros(2000, 1, 2, 17, 2))[
        'degrees'
    ]
    assert degrees.shape == (2000, 1) and 19.5 < degrees.max() <= 20 and 0 <= degrees.min() < 0.5


def test_crop_draws():
    start = TemporalCrop(padding_ratio=6).draw(MANY)['start']
    counts = torch.bincount(start, minlength=5) / len(start)
    assert len(counts) == 5 and counts.sub(0.2).abs().max() < 0.03  # 0 to 4 for 12 frames, even


def test_blur_draws():
    sigma = GaussianBlur(sigma=(0.1, 2.0)).draw(MANY)['sigma']
    assert 0.1 <= sigma.min() < 0.11 and 1.99 < sigma.max() <= 2.0
    assert sigma.mean().item() == pytest.approx(1.05, abs=0.03)


@pytest.mark.parametrize('layout, d, c', [('ntu25', 3, 4), ('coco17', 2, 3)])
def test_axis_mask_draws(layout, d, c):
    axis = AxisMask(layout=layout).draw(torch.zeros(3000, 1, 2, len(MIRRORS[layout]), c))['axis']
    counts = torch.bincount(axis) / 3000
    assert len(counts) == d and counts.sub(1 / d).abs().max() < 0.04


def test_noise_std_is_a_centimeter():
    assert GaussianNoise().draw(MANY)['noise'].std().item() == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize('name', ALL)
def test_probability_by_default(name):
    """Crop, shear and rotation transform every sample, the others half of them."""
    x = torch.randn(1, 1, 6, 25, 3).repeat(2000, 1, 1, 1, 1)
    transform = TRANSFORMS.build(dict(type=name))
    y = transform.batch(x)
    changed = (y != x).flatten(1).any(dim=1).float().mean()
    expected = {'TemporalCrop': 2 / 3, 'Shear': 1, 'Rotate': 1}.get(name, 0.5)
    assert transform.p == (1 if name in ('TemporalCrop', 'Shear', 'Rotate') else 0.5)
    assert changed.item() == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize('p, share', [(0.0, 0.0), (0.2, 0.2), (1.0, 1.0)])
def test_probability(p, share):
    x = torch.randn(1, 1, 4, 25, 3).repeat(2000, 1, 1, 1, 1)
    flipped = (TemporalFlip(p=p).batch(x) == x.flip(2)).flatten(1).all(dim=1)
    kept = (TemporalFlip(p=p).batch(x) == x).flatten(1).all(dim=1)
    assert flipped.float().mean().item() == pytest.approx(share, abs=0.04 * (0 < p < 1))
    assert kept.float().mean().item() == pytest.approx(1 - share, abs=0.04 * (0 < p < 1))


@pytest.mark.parametrize('name', ALL)
def test_samples_are_drawn_one_by_one(name):
    x = torch.randn(1, 1, 50, 25, 3).repeat(64, 1, 1, 1, 1)
    y = TRANSFORMS.build(dict(type=name)).batch(x).flatten(1)
    assert len(torch.unique(y, dim=0)) >= 2


@pytest.mark.parametrize('name', ALL)
def test_same_seed_same_result(name):
    x, transform = skeletons(n=8, t=50), TRANSFORMS.build(dict(type=name))
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(transform.batch(x))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


# --- pipeline use ---


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('clips', [None, 4])
@pytest.mark.parametrize('layout, d', [('ntu25', 3), ('coco17', 2)])
@pytest.mark.parametrize('with_score', [False, True])
def test_pipeline_equals_batch(name, clips, layout, d, with_score):
    transform = TRANSFORMS.build(dict(type=name, layout=layout))
    x = skeletons(layout, d + with_score, n=clips or 1)
    torch.manual_seed(7)
    expected = transform.batch(x.clone()).numpy()
    raw = x.numpy() if clips else x[0].numpy()
    results = dict(keypoint=raw[..., :d].astype(np.float64), label=3)
    if with_score:
        results['keypoint_score'] = raw[..., d].astype(np.float64)
    torch.manual_seed(7)
    results = transform(results)
    expected = expected if clips else expected[0]
    assert (
        results['keypoint'].dtype == np.float32
        and results['label'] == 3
        and results['total_frames'] == T
    )
    np.testing.assert_array_equal(results['keypoint'], expected[..., :d])
    assert ('keypoint_score' in results) == with_score
    if with_score:
        np.testing.assert_array_equal(results['keypoint_score'], expected[..., d])


@pytest.mark.parametrize('name', ALL)
def test_score_follows_joints_and_frames_only(name):
    """Only the spatial flip changes a score that is constant over the clip."""
    score = np.broadcast_to(np.arange(17, dtype=np.float32), (M, T, 17))
    transform = TRANSFORMS.build(dict(type=name, p=1.0, layout='coco17'))
    results = transform(dict(keypoint=skeletons('coco17', 2)[0].numpy(), keypoint_score=score))
    expected = score[..., COCO_MIRROR] if name == 'SpatialFlip' else score
    np.testing.assert_array_equal(results['keypoint_score'], expected)


@pytest.mark.parametrize('name', ALL)
def test_input_is_left_alone(name):
    x = skeletons(t=50)
    before, raw = x.clone(), x[0].numpy().copy()
    transform = TRANSFORMS.build(dict(type=name, p=1.0))
    transform.batch(x)
    transform(dict(keypoint=raw))
    assert torch.equal(x, before) and np.array_equal(raw, before[0])


# --- errors ---


@pytest.mark.parametrize('name', ALL)
def test_wrong_joint_count(name):
    with pytest.raises(ValueError, match=f"{name} .*'ntu25' with 25 joints.* have 17"):
        TRANSFORMS.build(dict(type=name))(dict(keypoint=np.zeros((1, 4, 17, 3), np.float32)))


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: TemporalCrop(padding_ratio=0), 'padding_ratio=0'),
        (lambda: GaussianBlur(taps=4), 'taps=4'),
        (lambda: GaussianBlur(taps=-1), 'taps=-1'),
        (lambda: GaussianBlur(sigma=(0.0, 2.0)), r'sigma=\(0.0, 2.0\)'),
        (lambda: GaussianBlur(sigma=(2.0, 1.0)), r'sigma=\(2.0, 1.0\)'),
        (lambda: Shear(p=1.5), r'Shear: p=1.5.*\[0, 1\]'),
        (lambda: SpatialFlip(p=-0.1), r'SpatialFlip: p=-0.1'),
        (lambda: AxisMask(layout='ntu'), "'ntu'.*ntu25"),
    ],
)
def test_bad_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- streams ---

STREAM_KINDS = pytest.mark.parametrize(
    'layout, d, c', [(NTU25, 3, 3), (NTU25, 3, 4), (COCO17, 2, 3)]
)


@STREAM_KINDS
def test_joint_stream_is_the_input(layout, d, c):
    x = skeletons(layout.name, c)
    assert torch.equal(select_stream(x, 'joint', layout), x)


@STREAM_KINDS
def test_bone_stream(layout, d, c):
    x = skeletons(layout.name, c)
    expected = x.numpy().copy()
    for v, parent in enumerate(layout.parents):
        parent = layout.joints.index(parent)
        expected[..., v, :d] = x[..., v, :d].numpy() - x[..., parent, :d].numpy()
    bone = select_stream(x, 'bone', layout)
    np.testing.assert_array_equal(bone, expected)
    assert (bone[..., layout.center_index, :d] == 0).all()


@STREAM_KINDS
@pytest.mark.parametrize('t', [T, 1])
def test_motion_stream(layout, d, c, t):
    x = skeletons(layout.name, c, t=t)
    expected = x.numpy().copy()
    expected[..., :d] = 0
    for frame in range(t - 1):
        expected[:, :, frame, :, :d] = (
            x[:, :, frame + 1, :, :d].numpy() - x[:, :, frame, :, :d].numpy()
        )
    motion = select_stream(x, 'motion', layout)
    np.testing.assert_array_equal(motion, expected)
    assert (motion[:, :, -1, :, :d] == 0).all()


def test_unknown_stream():
    with pytest.raises(ValueError, match="stream='angle'.*'joint', 'bone', 'motion'"):
        select_stream(skeletons(), 'angle', NTU25)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('view', ['reversed', 'read-only'])
def test_pipeline_takes_views_of_arrays(view):
    """Keypoints that are a view, or must not be written to, are accepted."""
    x = np.ones((2, 5, 25, 3), np.float32)[:, ::-1]
    if view == 'read-only':
        x = x.copy()
        x.setflags(write=False)
    assert Shear()(dict(keypoint=x))['keypoint'].shape == (2, 5, 25, 3)


def test_pipeline_refuses_too_few_channels():
    """2-D keypoints do not fit a 3-D layout."""
    with pytest.raises(ValueError, match='3 coordinates.* 2 channels'):
        Shear()(dict(keypoint=np.zeros((1, 4, 25, 2))))


@pytest.mark.parametrize(
    'make',
    [
        lambda: Shear(amplitude=-0.5),
        lambda: GaussianNoise(std=-1),
        lambda: TemporalCrop(padding_ratio=2.5),
    ],
)
def test_amplitudes_are_checked(make):
    """Invalid amplitudes are refused when the transform is built."""
    with pytest.raises(ValueError, match='-0.5|-1|2.5'):
        make()
