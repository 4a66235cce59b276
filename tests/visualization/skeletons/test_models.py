"""What pictures tell of augmentations, EADM and mining, against its definitions."""

import itertools

import numpy as np
import pytest
import torch
from mmengine.config import Config

from aimclr_mm.models import EADM
from aimclr_mm.skeletons import LAYOUTS
from aimclr_mm.visualization.skeletons import augmentations, eadm, neighbors

NTU = LAYOUTS['ntu25']


# augmentations


def recording(people: int = 1, frames: int = 12) -> dict:
    """Coordinates none of which is zero."""
    keypoint = np.random.default_rng(0).uniform(0.1, 1, (people, frames, 25, 3))
    return dict(frame_dir='made up', keypoint=keypoint.astype(np.float32), total_frames=frames)


def synthetic_config(**views) -> Config:
    cfg = Config.fromfile('configs/aimclr_synthetic_xsub_joint.py')
    cfg.model.data_preprocessor.update(views)
    return cfg


@pytest.fixture
def every_transform(monkeypatch):
    """A config whose extreme view has all eight augmentations, seldom."""
    monkeypatch.chdir(__file__.rsplit('/tests/', 1)[0])
    names = [
        'TemporalCrop',
        'Shear',
        'SpatialFlip',
        'Rotate',
        'GaussianNoise',
        'GaussianBlur',
        'AxisMask',
        'TemporalFlip',
    ]
    return synthetic_config(extreme=[dict(type=name, p=0.01) for name in names])


def test_each_augmentation_is_shown_whatever_its_probability(every_transform):
    made = recording(people=2, frames=30)
    made['keypoint'][1] = 0
    strips = augmentations.augmentation_strips(made, every_transform, seed=0)
    shown = {strip.title.split(' ')[0].rstrip(':'): strip for strip in strips}
    plain = shown['preprocessed'].sequence['keypoint']
    assert plain.shape == (2, 24, 25, 3) and len(strips) == 1 + 8 + 3
    for name, strip in shown.items():
        assert not strip.sequence['keypoint'][1].any(), 'noise of somebody who is not there'
        assert name in ('preprocessed', 'extreme') or (strip.sequence['keypoint'] != plain).any(), (
            name
        )
    np.testing.assert_array_equal(shown['TemporalFlip'].sequence['keypoint'], plain[:, ::-1])
    np.testing.assert_array_equal(
        shown['SpatialFlip'].sequence['keypoint'], plain[:, :, list(NTU.mirror)]
    )
    axis = int(shown['AxisMask'].title.split('axis ')[1])
    assert shown['AxisMask'].title.startswith('AxisMask (p = 0.01): ')
    np.testing.assert_array_equal(
        shown['AxisMask'].sequence['keypoint'], plain * (np.arange(3) != axis)
    )
    noise = shown['GaussianNoise'].sequence['keypoint'][0] - plain[0]
    told = float(shown['GaussianNoise'].title.split('deviation ')[1])
    assert noise.std() == pytest.approx(told, rel=0.1) and told == pytest.approx(0.01, rel=0.1)


def test_augmentations_depend_on_the_seed_alone(every_transform):
    state = torch.get_rng_state()
    first, again, other = (
        augmentations.augmentation_strips(recording(), every_transform, seed) for seed in (1, 1, 2)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert [s.title for s in first] == [s.title for s in again] != [s.title for s in other]
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a.sequence['keypoint'], b.sequence['keypoint'])


def test_configs_without_extreme_view_show_the_query(every_transform):
    every_transform.model.data_preprocessor.extreme = None
    titles = [
        s.title.split(' ')[0]
        for s in augmentations.augmentation_strips(recording(), every_transform)
    ]
    assert titles == ['preprocessed', 'TemporalCrop', 'Shear', 'query', 'key']


# EADM


@pytest.mark.parametrize('temporal, margin', [('element', 0.7), ('frame', 0.675)])
def test_marks_are_the_masks_of_the_paper(temporal, margin):
    """Attention (Eq. 3) and both masks of Algorithm 1 as loops in float64."""
    people, channels, frames, joints, lam = 2, 3, 4, 5, 1e-4
    x = torch.randn(people, channels, frames, joints) ** 3
    attention_, joints_, share = eadm.map_drops(EADM(margin, lam, temporal), x)
    values = x.double().numpy()
    for m in range(people):
        energy = np.zeros((channels, frames, joints))
        for c in range(channels):
            mean, variance = values[m, c].mean(), values[m, c].var()
            for t, v in itertools.product(range(frames), range(joints)):
                inverse = ((values[m, c, t, v] - mean) ** 2 + 2 * variance + 2 * lam) / (
                    4 * (variance + lam)
                )
                energy[c, t, v] = 1 / (1 + np.exp(-inverse))
        np.testing.assert_allclose(attention_[m], energy.mean(0), rtol=1e-5)
        for v in range(joints):
            assert joints_[m, v] == (energy[:, :, v].mean() >= margin)
            for t in range(frames):
                dropped = (
                    [energy[:, t].mean() >= margin]
                    if temporal == 'frame'
                    else energy[:, t, v] >= margin
                )
                assert share[m, t, v] == pytest.approx(np.mean(dropped))
    assert 0 < share.mean() < 1


def test_marks_stand_at_the_frames_they_are_of():
    made = recording(people=2, frames=8)
    share = np.arange(2 * 2 * 25).reshape(2, 2, 25) / 100
    dropped = np.zeros((2, 25), bool)
    dropped[1, 3] = True
    drops = eadm.Drops(made, share, dropped, share)
    strip = eadm.drop_strip(drops, np.array([0, 1]))
    for t in range(8):
        np.testing.assert_array_equal(strip.circles[:, t], share[:, t // 4])
        np.testing.assert_array_equal(strip.crosses[:, t], dropped)
    figure = eadm.draw_drops(drops, NTU, frames=2)
    (heat_map,) = (
        axes for axes in figure.axes if axes.get_title().startswith('person 1: attention')
    )
    np.testing.assert_array_equal(heat_map.images[0].get_array(), share[1])
    red = [label.get_text() for label in heat_map.get_xticklabels() if label.get_color() != 'black']
    assert red == [NTU.joints[3]]


# neighbours


def test_neighbours_are_those_of_numpy():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    own = [7, 0, 33]
    similarity, places = neighbors.mine(torch.tensor(query[own]), torch.tensor(key), own, 4)
    for row, place in enumerate(own):
        cosine = key @ query[place] / np.linalg.norm(key, axis=1) / np.linalg.norm(query[place])
        expected = [i for i in np.argsort(-cosine) if i != place][:4]
        assert places[row].tolist() == expected
        np.testing.assert_allclose(similarity[row], cosine[expected])


def test_queries_are_named_or_drawn():
    names = [f's{i}' for i in range(30)]
    assert neighbors.choose_queries(names, ['s4', 's0'], 3, 0) == [4, 0]
    drawn = [neighbors.choose_queries(names, None, 3, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(set(drawn[0])) == 3
