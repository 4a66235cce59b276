"""The data set of random movements, its batches and its views."""

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, MODELS

from aimclr_mm.datasets.batch import SkeletonBatch
from aimclr_mm.datasets.movements import RandomMovements
from aimclr_mm.datasets.readers import Movements
from aimclr_mm.skeletons import NTU25

PREPROCESS = [dict(type='CenterSkeleton'), dict(type='AlignShoulders')]


def build(**settings) -> RandomMovements:
    return DATASETS.build(dict(type='RandomMovements', length=100, frames=12, **settings))


def test_batches_are_preprocessed_pairs():
    torch.manual_seed(0)
    batch = build(preprocess=PREPROCESS).__getitems__([5, 3, 1])
    assert isinstance(batch, SkeletonBatch)
    x = batch.inputs
    assert x.shape == (3, 2, 1, 12, 25, 3)
    assert x[..., NTU25.center_index, :].abs().max() < 1e-6
    left, right = (x[..., joint, :] for joint in NTU25.shoulder_indices)
    torch.testing.assert_close(left[..., 2], right[..., 2], atol=2e-3, rtol=0)
    assert build().__getitem__(0).inputs.shape == (1, 2, 1, 12, 25, 3)


def test_batches_follow_the_seed_and_never_repeat():
    data = build()
    torch.manual_seed(1)
    first, second = data.__getitems__([0, 1]).inputs, data.__getitems__([0, 1]).inputs
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(data.__getitems__([7, 8]).inputs, first)


def test_families_are_in_consecutive_batches_of_an_epoch():
    data = build(family=3)
    torch.manual_seed(1)
    epoch = [data.__getitems__([2 * i, 2 * i + 1]).inputs for i in range(5)]

    torch.manual_seed(1)
    again = [data.__getitems__([2 * i, 2 * i + 1]).inputs for i in range(5)]  # starts a new family
    assert all(torch.equal(first, second) for first, second in zip(epoch, again))
    assert len({float(batch.sum()) for batch in again}) == 5
    assert data.__getitems__([10, 11, 12]).inputs.shape[0] == 3  # another batch size


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(length=0), 'length=0'),
        (dict(frames=0), 'frames=0'),
        (dict(family=0), 'family=0'),
        (dict(layout='kinect20'), "'kinect20'"),
        (dict(preprocess=[dict(type='FormatGCNInput', num_person=1)]), 'FormatGCNInput'),
    ],
)
def test_settings_that_cannot_be_used(settings, message):
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(type='RandomMovements', **{'length': 10, **settings}))


def test_index_out_of_range():
    with pytest.raises(IndexError, match='100 samples'):
        build().__getitems__([0, 100])


def views(**settings) -> torch.nn.Module:
    extreme = [dict(type='GaussianNoise', std=1e-9)]
    return MODELS.build(dict(type='SkeletonViews', extreme=extreme, **settings))


def test_the_key_is_made_of_the_second_performance():
    clips = torch.arange(6.0).view(3, 2, 1, 1, 1, 1).expand(3, 2, 1, 4, 25, 3)
    inputs = views(pairs=True)(SkeletonBatch(clips), True)['inputs']
    numbers = {name: view[:, 0, 0, 0, 0].round().tolist() for name, view in inputs.items()}
    assert numbers == dict(query=[0, 2, 4], key=[1, 3, 5], extreme=[0, 2, 4])

    inputs = views()(SkeletonBatch(clips), True)['inputs']
    assert len(inputs['query']) == len(inputs['key']) == 6
    assert len(views(pairs=True)(SkeletonBatch(clips), False)['inputs']) == 6


def test_pairs_need_two_clips():
    clips = torch.zeros(3, 1, 1, 4, 25, 3)
    with pytest.raises(ValueError, match='pairs=True needs two clips per sample, .* have 1'):
        views(pairs=True)(SkeletonBatch(clips), True)


@pytest.mark.parametrize('layout', ['ntu25', 'coco17'])
def test_reader_of_held_out_programs(layout):
    reader = Movements(programs=3, performances=4, seed=5, layout=layout)
    state = torch.get_rng_state()
    sequences = [reader.read(program) for program in reader.recordings()]
    assert torch.equal(torch.get_rng_state(), state)
    assert [a['label'] for part in sequences for a in part] == np.repeat(range(3), 4).tolist()
    assert len({a['frame_dir'] for part in sequences for a in part}) == 12
    assert [reader.splits(a) for a in sequences[0]] == [['xsub_train'], ['xsub_val']] * 2

    first = sequences[1][2]
    joints, channels = (25, 3) if layout == 'ntu25' else (17, 2)
    assert first['keypoint'].shape == (1, 60, joints, channels)
    assert np.array_equal(reader.read(1)[2]['keypoint'], first['keypoint'])
    other = Movements(programs=3, performances=4, seed=6, layout=layout)
    assert not np.array_equal(other.read(1)[2]['keypoint'], first['keypoint'])
    if layout == 'coco17':
        assert first['keypoint_score'].shape == (1, 60, 17)
        assert first['img_shape'] == (1080, 1920)


@pytest.mark.parametrize('settings', [dict(programs=0), dict(performances=1), dict(seed=-1)])
def test_reader_refuses_numbers_out_of_range(settings):
    with pytest.raises(ValueError, match=f'{next(iter(settings))}=.* is out of range'):
        Movements(**settings)
