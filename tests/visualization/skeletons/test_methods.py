"""What strips show of augmentations, EADM and mining, against their definitions."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from aimclr_mm.models import EADM
from aimclr_mm.skeletons import LAYOUTS
from aimclr_mm.visualization.skeletons import augmentations, eadm, neighbors

from .made import recording

ROOT = Path(__file__).resolve().parents[3]
NTU = LAYOUTS['ntu25']
AUGMENTATIONS = [
    'TemporalCrop',
    'Shear',
    'SpatialFlip',
    'Rotate',
    'GaussianNoise',
    'GaussianBlur',
    'AxisMask',
    'TemporalFlip',
]


# augmentations


@pytest.fixture
def cfg(monkeypatch):
    """A config whose extreme view rarely applies each of the eight augmentations."""
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile('configs/aimclr_synthetic_xsub_joint.py')
    cfg.model.data_preprocessor.extreme = [dict(type=name, p=0.01) for name in AUGMENTATIONS]
    return cfg


def test_each_augmentation_is_shown_whatever_its_probability(cfg):
    made = recording(people=2, frames=30)
    made['keypoint'][1] = 0
    strips = augmentations.augmentation_strips(made, cfg, seed=0)
    shown = {strip.title.split(' ')[0].rstrip(':'): strip for strip in strips}
    keypoint = {name: strip.sequence['keypoint'] for name, strip in shown.items()}
    plain = keypoint['preprocessed']
    assert plain.shape == (2, 24, 25, 3) and len(strips) == 1 + 8 + 3

    for name in shown:
        assert not keypoint[name][1].any(), 'noise on a person who is absent'
        if name not in ('preprocessed', 'extreme'):
            assert (keypoint[name] != plain).any(), name
    np.testing.assert_array_equal(keypoint['TemporalFlip'], plain[:, ::-1])
    np.testing.assert_array_equal(keypoint['SpatialFlip'], plain[:, :, list(NTU.mirror)])

    title = shown['AxisMask'].title
    assert title.startswith('AxisMask (p = 0.01): ')
    axis = int(title.split('axis ')[1])
    np.testing.assert_array_equal(keypoint['AxisMask'], plain * (np.arange(3) != axis))

    noise = keypoint['GaussianNoise'][0] - plain[0]
    told = float(shown['GaussianNoise'].title.split('deviation ')[1])
    assert noise.std() == pytest.approx(told, rel=0.1) and told == pytest.approx(0.01, rel=0.1)


def test_augmentations_depend_on_the_seed_alone(cfg):
    state = torch.get_rng_state()
    first, again, other = (
        augmentations.augmentation_strips(recording(), cfg, seed) for seed in (1, 1, 2)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert [s.title for s in first] == [s.title for s in again] != [s.title for s in other]
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a.sequence['keypoint'], b.sequence['keypoint'])


def test_configs_without_extreme_view_show_the_query(cfg):
    cfg.model.data_preprocessor.extreme = None
    strips = augmentations.augmentation_strips(recording(), cfg)
    titles = [strip.title.split(' ')[0] for strip in strips]
    assert titles == ['preprocessed', 'TemporalCrop', 'Shear', 'query', 'key']


# EADM


@pytest.mark.parametrize('temporal, margin', [('element', 0.7), ('frame', 0.675)])
def test_marks_are_the_masks_of_the_paper(temporal, margin):
    """Attention (Eq. 3) and both masks of Algorithm 1 as loops in float64."""
    people, channels, frames, joints, lam = 2, 3, 4, 5, 1e-4
    x = torch.randn(people, channels, frames, joints) ** 3
    attention, dropped, share = eadm.map_drops(EADM(margin, lam, temporal), x)

    values = x.double().numpy()
    for m in range(people):
        energy = np.zeros((channels, frames, joints))
        for c in range(channels):
            mean, variance = values[m, c].mean(), values[m, c].var()
            for t, v in itertools.product(range(frames), range(joints)):
                squared = (values[m, c, t, v] - mean) ** 2
                inverse = (squared + 2 * variance + 2 * lam) / (4 * (variance + lam))
                energy[c, t, v] = 1 / (1 + np.exp(-inverse))

        np.testing.assert_allclose(attention[m], energy.mean(0), rtol=1e-5)
        for v in range(joints):
            assert dropped[m, v] == (energy[:, :, v].mean() >= margin)
        for t, v in itertools.product(range(frames), range(joints)):
            by_channel = energy[:, t, v] >= margin
            if temporal == 'frame':
                by_channel = [energy[:, t].mean() >= margin]
            assert share[m, t, v] == pytest.approx(np.mean(by_channel))
    assert 0 < share.mean() < 1


def test_marks_stand_at_their_frames():
    share = np.arange(2 * 2 * 25).reshape(2, 2, 25) / 100
    dropped = np.zeros((2, 25), bool)
    dropped[1, 3] = True
    drops = eadm.Drops(recording(people=2, frames=8), share, dropped, share)

    strip = eadm.drop_strip(drops, np.array([0, 1]))
    for t in range(8):
        np.testing.assert_array_equal(strip.circles[:, t], share[:, t // 4])
        np.testing.assert_array_equal(strip.crosses[:, t], dropped)

    figure = eadm.draw_drops(drops, NTU, frames=2)
    (heat_map,) = (
        axes for axes in figure.axes if axes.get_title().startswith('person 1: attention')
    )
    np.testing.assert_array_equal(heat_map.images[0].get_array(), share[1])
    labels = heat_map.get_xticklabels()
    marked = [label.get_text() for label in labels if label.get_color() == eadm.DROPPED_COLOR]
    assert marked == [NTU.joints[3]]


# neighbors


def test_neighbors_equal_a_loop():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    own = [7, 0, 33]
    similarity, indices = neighbors.nearest_keys(
        torch.tensor(query[own]), torch.tensor(key), own, 4
    )
    for row, index in enumerate(own):
        cosine = key @ query[index] / np.linalg.norm(key, axis=1) / np.linalg.norm(query[index])
        expected = [i for i in np.argsort(-cosine) if i != index][:4]
        assert indices[row].tolist() == expected
        np.testing.assert_allclose(similarity[row], cosine[expected])


def test_queries_are_named_or_drawn():
    names = [f's{i}' for i in range(30)]
    assert neighbors.choose_queries(names, ['s4', 's0'], 3, 0) == [4, 0]
    first, again, other = (neighbors.choose_queries(names, None, 3, seed) for seed in (0, 0, 1))
    assert first == again != other and len(set(first)) == 3
