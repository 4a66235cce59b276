"""What holds for any number of samples, people, frames, joints and keys: transforms, queue, losses, readers."""
import io
import json
import pickle
import tempfile
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmaction.registry import TRANSFORMS
from torch import Tensor

from aimclr_mm.datasets.readers import SourceFile
from aimclr_mm.datasets.readers.custom_files import read_sequence
from aimclr_mm.datasets.readers.ntu import read_bodies
from aimclr_mm.datasets.subset import balanced_draw
from aimclr_mm.models import losses
from aimclr_mm.models.eadm import EADM, drop_and_rescale
from aimclr_mm.models.queue import MemoryQueue
from aimclr_mm.pickles import read_pickle
from aimclr_mm.skeletons import COCO17, KINECT20, NTU25, Layout
from aimclr_mm.transforms import functional as F

settings.register_profile('project', deadline=None, derandomize=True, max_examples=20, database=None)
settings.load_profile('project')
AUGMENTATIONS = ('TemporalCrop', 'Shear', 'SpatialFlip', 'Rotate', 'GaussianNoise', 'GaussianBlur', 'AxisMask',
                 'TemporalFlip')
SEEDS = st.integers(0, 2 ** 32 - 1)
LAYOUTS = st.sampled_from([NTU25, KINECT20, COCO17])


@st.composite
def skeletons(draw, layouts=LAYOUTS, most_frames: int = 24) -> tuple[Tensor, Layout]:
    """Random walks (N, M, T, V, C) of any size, at times with a score, and their layout."""
    layout = draw(layouts)
    shape = [draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, most_frames)), layout.num_joints,
             layout.dims + draw(st.integers(0, 1))]
    generator = torch.Generator().manual_seed(draw(SEEDS))
    x = torch.randn(shape, generator=generator).cumsum(dim=2) * 10.0 ** draw(st.integers(-2, 2))
    if draw(st.booleans()):
        x[:, -1] = 0                            # a person who is absent
    if draw(st.booleans()):
        x[:, :, draw(st.integers(0, x.shape[2] - 1))] = 0
    return x, layout


def build(name: str, layout: Layout, **options):
    """A registered transform."""
    return TRANSFORMS.build(dict(type=name, layout=layout, **options))


def seeded(seed: int, function, *args):
    """What a function returns after torch was seeded."""
    torch.manual_seed(seed)
    return function(*args)


def lengths(x: Tensor, layout: Layout) -> Tensor:
    """Bone lengths (N, M, T, V)."""
    coordinates = x[..., :layout.dims].double()
    return (coordinates - coordinates[..., list(layout.bones), :]).norm(dim=-1)


def close(ours: Tensor, expected: Tensor, x: Tensor) -> None:
    """Equal up to rounding at the scale of x."""
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5 * (1e-6 + x.abs().max().item()), check_dtype=False)


# transforms


@pytest.mark.parametrize('name', AUGMENTATIONS)
@given(data=skeletons(), seed=SEEDS)
def test_augmentations_keep_shape_and_leave_their_input_alone(name, data, seed):
    x, layout = data
    before = x.clone()
    y = seeded(seed, build(name, layout, p=1.0).batch, x)
    assert y.shape == x.shape and y.dtype == x.dtype and y.isfinite().all() and torch.equal(x, before)
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
    every, some = build(name, layout, p=1.0).batch(x), seeded(seed, build(name, layout, p=p).batch, x)
    assert all(torch.equal(one, before) or torch.equal(one, flipped) for one, before, flipped in zip(some, x, every))


@pytest.mark.parametrize('name', AUGMENTATIONS)
@given(data=skeletons(), seed=SEEDS)
def test_a_sample_does_not_depend_on_its_neighbours(name, data, seed):
    x, layout = data
    transform = build(name, layout, p=1.0)
    params = seeded(seed, transform.draw, x)
    together = transform.apply(x, **params)
    for i in range(len(x)):
        close(transform.apply(x[i:i + 1], **{key: value[i:i + 1] for key, value in params.items()})[0], together[i], x)


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
    results = dict(keypoint=clip[0, ..., :layout.dims].numpy())
    if x.shape[-1] > layout.dims:
        results['keypoint_score'] = clip[0, ..., -1].numpy()
    results = seeded(seed, transform, results)
    expected = seeded(seed, transform.batch, clip)[0]
    close(torch.from_numpy(results['keypoint']), expected[..., :layout.dims], x)
    assert results['total_frames'] == x.shape[2]


@given(data=skeletons(), seed=SEEDS)
def test_bone_lengths(data, seed):
    x, layout = data
    before = lengths(x, layout)
    rotated = seeded(seed, build('Rotate', layout, main_degrees=180, other_degrees=90).batch, x)
    close(lengths(rotated, layout), before, x)
    close(lengths(build('SpatialFlip', layout, p=1.0).batch(x), layout), before[..., list(layout.mirror)], x)
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
def test_what_is_linear(data, seed, weights):
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
    for name, options in (('Shear', dict(amplitude=0)), ('GaussianNoise', dict(std=0, p=1.0)),
                          ('Rotate', dict(main_degrees=0, other_degrees=0)), ('TemporalCrop', dict(padding_ratio=99))):
        close(seeded(seed, build(name, layout, **options).batch, x), x, x)


@given(data=skeletons(), seed=SEEDS, ratio=st.integers(1, 8))
def test_a_crop_takes_whole_frames_in_their_order(data, seed, ratio):
    x, layout = data
    y = seeded(seed, build('TemporalCrop', layout, padding_ratio=ratio).batch, x)
    for sample, before in zip(y, x):
        distances = torch.cdist(sample.transpose(0, 1).flatten(1).double(), before.transpose(0, 1).flatten(1).double())
        steps = distances.argmin(dim=1).diff()
        assert distances.amin(dim=1).max() <= 1e-4 * (1e-6 + x.abs().max()) and (steps.abs() <= 1).all()


@given(data=skeletons(), seed=SEEDS, taps=st.integers(0, 12).map(lambda half: 2 * half + 1))
def test_a_normalised_blur_adds_no_energy(data, seed, taps):
    x, layout = data
    y = seeded(seed, build('GaussianBlur', layout, taps=taps, p=1.0).batch, x)
    before, after = (z[..., :layout.dims].double().square().sum(dim=(1, 2, 3, 4)) for z in (x, y))
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
    if y[:, 0, :, :, :layout.dims].flatten(2).any(dim=2).all():
        assert torch.equal(resize.batch(y), y)


@given(data=skeletons())
def test_centred_once_is_centred_twice(data):
    x, layout = data
    for frame in ('each', 'first'):
        transform = build('CenterSkeleton', layout, frame=frame)
        y = transform.batch(x)
        assert not y[:, :, slice(None) if frame == 'each' else slice(1), layout.center_index, :layout.dims].any()
        empty = ~x[..., :layout.dims].flatten(3).any(dim=3)                              # (N, M, T)
        assert not y[..., :layout.dims][empty].any()
        assert torch.equal(transform.batch(y), y) and torch.equal(y[..., layout.dims:], x[..., layout.dims:])


@given(data=skeletons(st.sampled_from([NTU25, KINECT20])))
def test_aligned_shoulders_keep_heights_and_distances(data):
    x, layout = data
    y = build('AlignShoulders', layout).batch(x)
    close(y[..., 1], x[..., 1], x)
    close(y[..., :3].double().norm(dim=-1), x[..., :3].double().norm(dim=-1), x)


@given(data=skeletons())
def test_streams_give_the_joints_back(data):
    x, layout = data
    coordinates = x[..., :layout.dims]
    bone, motion = (F.select_stream(x, stream, layout) for stream in ('bone', 'motion'))
    for stream in (bone, motion):
        assert stream.shape == x.shape and torch.equal(stream[..., layout.dims:], x[..., layout.dims:])
    close(bone[..., :layout.dims] + coordinates[..., list(layout.bones), :], coordinates, x)
    path = coordinates[:, :, :1] + motion[..., :layout.dims].cumsum(dim=2)
    close(path[:, :, :-1], coordinates[:, :, 1:], 10 * x)
    assert not motion[:, :, -1, :, :layout.dims].any()
    assert torch.equal(F.select_stream(x, 'joint', layout), x)


# queue


@given(length=st.integers(1, 40), dim=st.integers(1, 5), sizes=st.lists(st.integers(0, 40), max_size=12), seed=SEEDS)
def test_the_queue_is_a_deque(length, dim, sizes, seed):
    torch.manual_seed(seed)
    queue = MemoryQueue(length, dim)
    oracle = deque(map(tuple, queue.keys.tolist()), maxlen=length)
    for size in sizes:
        keys = torch.randn(size, dim)
        if size > length:
            with pytest.raises(ValueError, match=f'holds {length} keys, but a batch over all ranks has {size}'):
                queue.enqueue(keys)
            continue
        queue.enqueue(keys)
        oracle.extend(map(tuple, keys.tolist()))
        assert list(map(tuple, torch.roll(queue.keys, -int(queue.pointer), 0).tolist())) == list(oracle)
        assert 0 <= queue.pointer < length


# losses


@st.composite
def comparisons(draw) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, float]:
    """Unit queries (three times N, D), keys (N, D), a queue (K, D) and a temperature."""
    n, k, d = draw(st.integers(1, 6)), draw(st.integers(1, 30)), draw(st.integers(1, 16))
    rng = np.random.default_rng(draw(SEEDS))
    vectors = [rng.normal(size=(count, d)) for count in (n, n, n, n, k)]
    *queries, keys, queue = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors)
    return queries, keys, queue, draw(st.sampled_from([0.01, 0.07, 0.1, 1.0]))


def oracle_logits(query: np.ndarray, keys: np.ndarray, queue: np.ndarray, temperature: float) -> np.ndarray:
    """Logits (N, 1 + K) in float64."""
    return np.concatenate([np.einsum('nd,nd->n', query, keys)[:, None], query @ queue.T], axis=1) / temperature


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Of each row, in float64."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def tensor(array: np.ndarray) -> Tensor:
    """In the precision of training; flags stay flags."""
    return torch.from_numpy(array if array.dtype == bool else array.astype(np.float32))


@given(comparison=comparisons(), top=st.integers(1, 30), reduction=st.sampled_from(['sum', 'mean']), order=SEEDS)
def test_losses_are_those_of_float64_whatever_the_order_of_the_queue(comparison, top, reduction, order):
    queries, keys, queue, temperature = comparison
    top = min(top, len(queue))
    logits = [oracle_logits(query, keys, queue, temperature) for query in queries]
    positives = np.zeros(logits[0].shape, dtype=bool)
    positives[:, 0] = True
    for found in logits:
        np.put_along_axis(positives, 1 + np.argsort(-found[:, 1:], axis=1)[:, :top], True, axis=1)
    logs = [log_softmax(found) for found in logits]
    mined = np.where(positives, logs[0], 0).sum(axis=1) / (positives.sum(axis=1) if reduction == 'mean' else 1)
    context = np.concatenate([logits[0], logits[0][:, 1:] * logits[1][:, 1:] * temperature], axis=1)
    both = np.concatenate([positives, positives[:, 1:]], axis=1)
    crossed = np.where(both, log_softmax(context), 0).sum(axis=1) / (both.sum(axis=1) if reduction == 'mean' else 1)
    expected = [-logs[0][:, 0].mean(), -(np.exp(logs[0]) * logs[1]).sum(axis=1).mean(), -mined.mean(), -crossed.mean()]
    for places in (np.arange(len(queue)), np.random.default_rng(order).permutation(len(queue))):
        ours = [losses.contrastive_logits(tensor(query), tensor(keys), tensor(queue[places]), temperature)
                for query in queries]
        flags = tensor(positives[:, [0, *(1 + places)]])
        found = [losses.info_nce(ours[0]), losses.d3m(ours[0], ours[1]), losses.mining_loss(ours[0], flags, reduction),
                 losses.cross_stream_loss(ours[0], ours[1], flags, temperature, True, reduction)]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
        assert losses.nearest_neighbors(ours, top).sum() <= len(keys) * (1 + 3 * top)
    assert torch.equal(losses.nearest_neighbors([tensor(x).double() for x in logits], top), tensor(positives))


@given(comparison=comparisons())
def test_bounds_of_losses(comparison):
    queries, keys, queue, temperature = comparison
    logits, other = (losses.contrastive_logits(tensor(query), tensor(keys), tensor(queue), temperature)
                     for query in queries[:2])
    assert -1e-5 <= losses.info_nce(logits) <= 2 / temperature + np.log(len(queue) + 1) + 1e-3
    assert losses.d3m(logits, other) >= losses.d3m(logits, logits) - 1e-4            # Gibbs' inequality
    z = queries[0]
    cosines = (z @ z.T)[~np.eye(len(z), dtype=bool)]
    assert losses.mean_cosine(tensor(z)).item() == pytest.approx(cosines.mean() if len(cosines) else 0, abs=1e-4)


@given(seed=SEEDS, shape=st.tuples(*[st.integers(1, 6)] * 4), margin=st.floats(0.5, 1.1), temporal=st.sampled_from(
    ['element', 'frame']), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_eadm_keeps_or_drops_and_keeps_the_mean_scale(seed, shape, margin, temporal, scale):
    x = seeded(seed, torch.randn, *shape) * scale
    x[x == 0] = scale
    y = EADM(margin, temporal=temporal)(x)
    factors = (y / x)[y != 0]
    assert y.shape == x.shape and y.isfinite().all()
    assert factors.numel() == 0 or factors.min() > 0.999 and factors.max() - factors.min() <= 1e-3 * factors.max()
    keep = seeded(seed, torch.rand, *shape) < 0.5
    scaled = drop_and_rescale(torch.ones(shape), keep)
    assert scaled.mean().item() == pytest.approx(float(keep.any()), rel=1e-5) and not scaled[~keep].any()


# readers and subsets


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=80), fraction=st.floats(0.001, 1), seed=SEEDS)
def test_balanced_draws(labels, fraction, seed):
    drawn, sizes = balanced_draw(labels, fraction, seed), Counter(labels)
    assert np.array_equal(drawn, np.unique(drawn)) and np.array_equal(drawn, balanced_draw(labels, fraction, seed))
    counts = Counter(labels[i] for i in drawn)
    assert counts.keys() == sizes.keys()
    for label, size in sizes.items():
        assert max(1, int(fraction * size)) <= counts[label] <= max(1, int(fraction * size) + 1)
    assert len(drawn) >= int(np.floor(fraction * len(labels) + 0.5)) - len(sizes)
    assert len(balanced_draw(labels, 1.0, seed)) == len(labels)


@st.composite
def recordings(draw) -> tuple[Layout, np.ndarray, bool]:
    """A chain of joints as a layout, keypoints (M, T, V, C) float32, and whether C holds a score."""
    joints, dims, score = draw(st.integers(2, 7)), draw(st.sampled_from([2, 3])), draw(st.booleans())
    names = ('left_shoulder', 'right_shoulder', *(f'j{i}' for i in range(joints - 2)))
    layout = Layout('chain', names, (names[0], *names[:-1]), names[0], dims)
    rng = np.random.default_rng(draw(SEEDS))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 6)), joints, dims + score
    return layout, (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)).astype(np.float32), score


@pytest.mark.parametrize('form', ['npy', 'npz', 'csv', 'json'])
@given(recording=recordings(), separator=st.sampled_from([',', ';', ' ', '\t']), order=st.sampled_from('CF'))
def test_own_recordings_come_back(form, recording, separator, order):
    layout, array, score = recording
    people, frames, joints, channels = array.shape
    rows = array.swapaxes(0, 1).reshape(frames, -1)
    if form == 'csv':
        both = [d for d in (layout.dims, layout.dims + 1) if rows.shape[1] % (joints * d) == 0]
        assume(both == [channels])              # else the reader asks for another format
        content = ''.join(separator.join(map(repr, row)) + '\n' for row in rows.tolist()).encode()
    elif form == 'json':
        content = json.dumps(array.tolist()).encode()
    else:
        file = io.BytesIO()
        np.save(file, np.asarray(array, order=order)) if form == 'npy' else np.savez(file, keypoint=array)
        content = file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f'a.{form}')
        path.write_bytes(content)
        keypoint, scores = read_sequence(SourceFile.of(str(path), path.name), layout)
    assert keypoint.dtype == np.float32 and np.array_equal(keypoint, array[..., :layout.dims])
    assert (scores is None) != score and (not score or np.array_equal(scores, array[..., -1]))


@given(bodies=st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any), seed=SEEDS, digits=st.integers(1, 12),
       spaces=st.sampled_from([' ', '  ', '\t']), newline=st.sampled_from(['\n', '\r\n']))
def test_ntu_files_come_back(bodies, seed, digits, spaces, newline):
    rng, expected = np.random.default_rng(seed), np.zeros((max(bodies), len(bodies), 25, 3), np.float32)
    lines = [str(len(bodies))]
    for frame, count in enumerate(bodies):
        lines.append(str(count))
        for place in range(count):
            values = [[f'{value:.{digits}f}' for value in row] for row in rng.normal(size=(25, 12)) * 3]
            expected[place, frame] = np.array([row[:3] for row in values], dtype=np.float64)
            lines += [spaces.join(map(str, range(10))), '25', *(spaces.join(row) for row in values)]
    assert np.array_equal(read_bodies(newline.join([*lines, '']).encode()), expected)


ATOMS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9),
                  st.binary(max_size=9), st.complex_numbers(allow_nan=False))
PLAIN = st.recursive(ATOMS, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4),
    st.lists(inner, max_size=3).map(tuple), st.sets(st.text(max_size=4), max_size=4),
    st.frozensets(st.integers(), max_size=4), st.binary(max_size=9).map(bytearray)), max_leaves=20)


@given(content=PLAIN, protocol=st.integers(0, 5))
@settings(max_examples=100)
def test_plain_pickles_come_back(content, protocol):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'a.pkl')
        path.write_bytes(pickle.dumps(content, protocol))
        assert read_pickle(str(path)) == content


@given(protocol=st.integers(0, 5), shape=st.lists(st.integers(0, 4), max_size=4), fortran=st.booleans(), seed=SEEDS,
       kind=st.sampled_from(['?', 'u1', 'i2', '<i4', '>i8', 'f2', '>f4', 'f8', 'c8', 'S3', 'U2']))
@settings(max_examples=100)
def test_pickled_arrays_come_back(protocol, shape, fortran, seed, kind):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 100, shape).astype(kind)
    array = array.transpose(rng.permutation(array.ndim)) if fortran else array
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'a.pkl')
        path.write_bytes(pickle.dumps([array, *array.flat], protocol))
        ours, *scalars = read_pickle(str(path))
    assert ours.dtype == array.dtype and ours.shape == array.shape and np.array_equal(ours, array)
    assert ours.flags.writeable and scalars == list(array.flat)
    assert [type(scalar) for scalar in scalars] == [type(scalar) for scalar in array.flat]
