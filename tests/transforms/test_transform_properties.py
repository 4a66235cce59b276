"""Properties of the transforms for any number of samples, people, frames and joints."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mmaction.registry import TRANSFORMS
from torch import Tensor

from aimclr_mm.skeletons import COCO17, KINECT20, NTU25, Layout
from aimclr_mm.transforms import functional as F
from tests.strategies import SEEDS, seeded

AUGMENTATIONS = (
    'TemporalCrop',
    'Shear',
    'SpatialFlip',
    'Rotate',
    'GaussianNoise',
    'GaussianBlur',
    'AxisMask',
    'TemporalFlip',
)
LAYOUTS = st.sampled_from([NTU25, KINECT20, COCO17])


@st.composite
def skeletons(draw, layouts=LAYOUTS, most_frames: int = 24) -> tuple[Tensor, Layout]:
    """Draw random walks (N, M, T, V, C), some with a score, and their layout."""
    layout = draw(layouts)
    shape = [
        draw(st.integers(1, 4)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, most_frames)),
        layout.num_joints,
        layout.dims + draw(st.integers(0, 1)),
    ]
    generator = torch.Generator().manual_seed(draw(SEEDS))
    x = torch.randn(shape, generator=generator).cumsum(dim=2) * 10.0 ** draw(st.integers(-2, 2))
    if draw(st.booleans()):
        x[:, -1] = 0  # a person who is absent
    if draw(st.booleans()):
        x[:, :, draw(st.integers(0, x.shape[2] - 1))] = 0
    return x, layout


def build(name: str, layout: Layout, **options):
    """Build a registered transform."""
    return TRANSFORMS.build(dict(type=name, layout=layout, **options))


def lengths(x: Tensor, layout: Layout) -> Tensor:
    """Return the bone lengths (N, M, T, V)."""
    coordinates = x[..., : layout.dims].double()
    return (coordinates - coordinates[..., list(layout.bones), :]).norm(dim=-1)


def close(ours: Tensor, expected: Tensor, x: Tensor) -> None:
    """Assert equality up to rounding at the scale of x."""
    torch.testing.assert_close(
        ours, expected, rtol=1e-4, atol=1e-5 * (1e-6 + x.abs().max().item()), check_dtype=False
    )


@pytest.mark.parametrize('name', AUGMENTATIONS)
@given(data=skeletons(), seed=SEEDS)
def test_augmentations_keep_shape_and_leave_their_input_alone(name, data, seed):
    x, layout = data
    before = x.clone()
    y = seeded(seed, build(name, layout, p=1.0).batch, x)
    assert (
        y.shape == x.shape and y.dtype == x.dtype and y.isfinite().all() and torch.equal(x, before)
    )
    assert torch.equal(seeded(seed, build(name, layout, p=1.0).batch, x), y)


@pytest.mark.parametrize('name', AUGMENTATIONS)
@given(data=skeletons(), seed=SEEDS)
def test_probability_zero_is_the_identity(name, data, seed):
    x, layout = data
    assert torch.equal(seeded(seed, build(name, layout, p=0.0).batch, x), x)


@pytest.mark.parametrize('name', ['SpatialFlip', 'TemporalFlip'])
@given(data=skeletons(), seed=SEEDS, p=st.floats(0, 1))
def test_any_probability_transforms_a_sample_or_leaves_it(name, data, seed, p):
    x, layout = data
    every, some = (
        build(name, layout, p=1.0).batch(x),
        seeded(seed, build(name, layout, p=p).batch, x),
    )
    assert all(
        torch.equal(one, before) or torch.equal(one, flipped)
        for one, before, flipped in zip(some, x, every)
    )


@pytest.mark.parametrize('name', AUGMENTATIONS)
@given(data=skeletons(), seed=SEEDS)
def test_a_sample_does_not_depend_on_its_neighbors(name, data, seed):
    x, layout = data
    transform = build(name, layout, p=1.0)
    params = seeded(seed, transform.draw, x)
    together = transform.apply(x, **params)
    for i in range(len(x)):
        close(
            transform.apply(
                x[i : i + 1], **{key: value[i : i + 1] for key, value in params.items()}
            )[0],
            together[i],
            x,
        )


@pytest.mark.parametrize('name', AUGMENTATIONS)
@given(data=skeletons(), seed=SEEDS)
def test_scores_are_never_mixed_with_coordinates(name, data, seed):
    x, layout = data
    assume(x.shape[-1] > layout.dims)
    transform = build(name, layout, p=1.0)
    without = torch.cat([0 * x[..., :-1], x[..., -1:]], dim=-1)
    scores = seeded(seed, transform.batch, x)[..., -1]
    close(scores, seeded(seed, transform.batch, without)[..., -1], x)
    assert torch.isin(scores, x[..., -1]).all()


@pytest.mark.parametrize('name', AUGMENTATIONS)
@given(data=skeletons(), seed=SEEDS)
def test_a_pipeline_does_what_a_batch_does(name, data, seed):
    x, layout = data
    transform, clip = build(name, layout, p=1.0), x[:1]
    results = dict(keypoint=clip[0, ..., : layout.dims].numpy())
    if x.shape[-1] > layout.dims:
        results['keypoint_score'] = clip[0, ..., -1].numpy()
    results = seeded(seed, transform, results)
    expected = seeded(seed, transform.batch, clip)[0]
    close(torch.from_numpy(results['keypoint']), expected[..., : layout.dims], x)
    assert results['total_frames'] == x.shape[2]


@given(data=skeletons(), seed=SEEDS)
def test_bone_lengths(data, seed):
    x, layout = data
    before = lengths(x, layout)
    rotated = seeded(seed, build('Rotate', layout, main_degrees=180, other_degrees=90).batch, x)
    close(lengths(rotated, layout), before, x)
    close(
        lengths(build('SpatialFlip', layout, p=1.0).batch(x), layout),
        before[..., list(layout.mirror)],
        x,
    )
    close(lengths(build('TemporalFlip', layout, p=1.0).batch(x), layout), before.flip(2), x)
    for frame in ('each', 'first'):
        close(lengths(build('CenterSkeleton', layout, frame=frame).batch(x), layout), before, x)
    if layout.dims == 3:
        close(lengths(build('AlignShoulders', layout).batch(x), layout), before, x)


@given(data=skeletons())
def test_flips_undo_themselves(data):
    x, layout = data
    for name in ('SpatialFlip', 'TemporalFlip'):
        flip = build(name, layout, p=1.0)
        assert torch.equal(flip.batch(flip.batch(x)), x)


@given(data=skeletons(), seed=SEEDS)
def test_axis_mask(data, seed):
    x, layout = data
    mask = build('AxisMask', layout, p=1.0)
    params = seeded(seed, mask.draw, x)
    once = mask.apply(x, **params)
    assert torch.equal(mask.apply(once, **params), once)
    for sample, before in zip(once, x):
        axes = [axis for axis in range(layout.dims) if before[..., axis].any()]
        assert sum(not sample[..., axis].any() for axis in axes) == min(1, len(axes))
        assert torch.isin(sample, torch.cat([before.flatten(), torch.zeros(1)])).all()


@given(data=skeletons(), seed=SEEDS, weights=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_linearity(data, seed, weights):
    x, layout = data
    y, (a, b) = x.flip(0) * 0.7, weights
    for name in set(AUGMENTATIONS) - {'GaussianNoise'}:
        transform = build(name, layout, p=1.0)
        params = seeded(seed, transform.draw, x)
        both = a * transform.apply(x, **params) + b * transform.apply(y, **params)
        close(transform.apply(a * x + b * y, **params), both, 10 * x)


@given(data=skeletons(), seed=SEEDS)
def test_amplitude_zero_is_the_identity(data, seed):
    x, layout = data
    for name, options in (
        ('Shear', dict(amplitude=0)),
        ('GaussianNoise', dict(std=0, p=1.0)),
        ('Rotate', dict(main_degrees=0, other_degrees=0)),
        ('TemporalCrop', dict(padding_ratio=99)),
    ):
        close(seeded(seed, build(name, layout, **options).batch, x), x, x)


@given(data=skeletons(), seed=SEEDS, ratio=st.integers(1, 8))
def test_a_crop_takes_whole_frames_in_their_order(data, seed, ratio):
    x, layout = data
    y = seeded(seed, build('TemporalCrop', layout, padding_ratio=ratio).batch, x)
    for sample, before in zip(y, x):
        distances = torch.cdist(
            sample.transpose(0, 1).flatten(1).double(), before.transpose(0, 1).flatten(1).double()
        )
        steps = distances.argmin(dim=1).diff()
        assert (
            distances.amin(dim=1).max() <= 1e-4 * (1e-6 + x.abs().max())
            and (steps.abs() <= 1).all()
        )


@given(data=skeletons(), seed=SEEDS, taps=st.integers(0, 12).map(lambda half: 2 * half + 1))
def test_a_normalized_blur_adds_no_energy(data, seed, taps):
    x, layout = data
    y = seeded(seed, build('GaussianBlur', layout, taps=taps, p=1.0).batch, x)
    before, after = (z[..., : layout.dims].double().square().sum(dim=(1, 2, 3, 4)) for z in (x, y))
    assert (after <= before * 1.0001 + 1e-12).all()
    kernel = F.gaussian_kernel(torch.rand(5) + 0.1, taps, True)
    close(kernel.sum(dim=1), torch.ones(5), torch.ones(1))
    assert (kernel >= 0).all() and torch.equal(kernel, kernel.flip(1))


@given(data=skeletons(), length=st.integers(1, 40))
def test_a_resized_clip_lies_between_its_frames(data, length):
    x, layout = data
    resize = build('ResizeClip', layout, length=length)
    y = resize.batch(x)
    assert y.shape == (*x.shape[:2], length, *x.shape[3:]) and y.isfinite().all()
    low, high = x.amin(dim=2, keepdim=True), x.amax(dim=2, keepdim=True)
    slack = 1e-5 * x.abs().max()
    assert ((y >= low - slack) & (y <= high + slack)).all()
    close(resize.batch(x[:, :, :1].expand_as(x)), x[:, :, :1].expand(-1, -1, length, -1, -1), x)
    if y[:, 0, :, :, : layout.dims].flatten(2).any(dim=2).all():
        assert torch.equal(resize.batch(y), y)


@given(data=skeletons())
def test_centered_once_is_centered_twice(data):
    x, layout = data
    for frame in ('each', 'first'):
        transform = build('CenterSkeleton', layout, frame=frame)
        y = transform.batch(x)
        assert not y[
            :, :, slice(None) if frame == 'each' else slice(1), layout.center_index, : layout.dims
        ].any()
        empty = ~x[..., : layout.dims].flatten(3).any(dim=3)  # (N, M, T)
        assert not y[..., : layout.dims][empty].any()
        assert torch.equal(transform.batch(y), y) and torch.equal(
            y[..., layout.dims :], x[..., layout.dims :]
        )


@given(data=skeletons(st.sampled_from([NTU25, KINECT20])))
def test_aligned_shoulders_keep_heights_and_distances(data):
    x, layout = data
    y = build('AlignShoulders', layout).batch(x)
    close(y[..., 1], x[..., 1], x)
    close(y[..., :3].double().norm(dim=-1), x[..., :3].double().norm(dim=-1), x)


@given(data=skeletons())
def test_streams_give_the_joints_back(data):
    x, layout = data
    coordinates = x[..., : layout.dims]
    bone, motion = (F.select_stream(x, stream, layout) for stream in ('bone', 'motion'))
    for stream in (bone, motion):
        assert stream.shape == x.shape and torch.equal(
            stream[..., layout.dims :], x[..., layout.dims :]
        )
    close(bone[..., : layout.dims] + coordinates[..., list(layout.bones), :], coordinates, x)
    path = coordinates[:, :, :1] + motion[..., : layout.dims].cumsum(dim=2)
    close(path[:, :, :-1], coordinates[:, :, 1:], 10 * x)
    assert not motion[:, :, -1, :, : layout.dims].any()
    assert torch.equal(F.select_stream(x, 'joint', layout), x)
