"""Mapping between joint layouts: rules, geometry, missing joints, real recordings."""

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from aimclr_mm.skeletons import KINECT20, LAYOUTS, NTU25, get_layout, map_layout
from aimclr_mm.skeletons.mapping import GROUPS, mapping_matrix

from .conventions import UCLA_EDGES

SHARED = Path(__file__).resolve().parents[3] / 'shared'
UTD_MHAD = SHARED / 'data' / 'utdmhad' / 'utdmhad_3d.pkl'
PAIRS = [
    (dims, *pair) for dims, names in GROUPS.items() for pair in itertools.permutations(names, 2)
]
all_pairs = pytest.mark.parametrize('dims, source, target', PAIRS)


def poses(layout: str, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return random sequences (M, T, V, C) without a zero."""
    shape = 2, 4, get_layout(layout).num_joints, channels
    return np.random.default_rng(seed).uniform(0.5, 2, shape)


def turned(x: np.ndarray, source: str, target: str) -> np.ndarray:
    """Return joints between layouts of a Kinect and of cameras with y down, turned about z."""
    down = {'azure32', 'mediapipe33'}
    if x.shape[-1] == 2 or (source in down) == (target in down):
        return x
    return x * (-1, -1, 1)


def joint(x: np.ndarray, layout: str, name: str) -> np.ndarray:
    return x[..., get_layout(layout).index(name), :]


def test_every_layout_of_the_table_can_be_mapped():
    hands = {'hands21', 'hands21_2d'}
    assert set().union(*GROUPS.values()) == set(LAYOUTS) - hands
    assert all(get_layout(name).dims == 3 for name in GROUPS[3])


@all_pairs
def test_weights_of_each_joint_sum_to_one(dims, source, target):
    matrix = mapping_matrix(get_layout(source), get_layout(target))
    assert matrix.shape == (get_layout(target).num_joints, get_layout(source).num_joints)
    torch.testing.assert_close(matrix.sum(1), torch.ones_like(matrix[:, 0]))


@all_pairs
def test_rotation_scaling_and_translation_commute(dims, source, target):
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
    offset, scale = rng.uniform(5, 9, dims), 1.7

    def move(x):
        return scale * x @ rotation.T + offset

    x = poses(source, dims)
    mapped = map_layout(move(x), source, target)
    assert mapped.shape == (2, 4, get_layout(target).num_joints, dims)
    expected = move(turned(map_layout(x, source, target), source, target))
    np.testing.assert_allclose(mapped, turned(expected, source, target), atol=1e-12)


@all_pairs
def test_left_and_right_are_treated_alike(dims, source, target):
    x = poses(source, dims)
    mirrored = x[..., get_layout(source).mirror, :]
    expected = map_layout(x, source, target)[..., get_layout(target).mirror, :]
    np.testing.assert_allclose(map_layout(mirrored, source, target), expected, atol=1e-12)


@all_pairs
def test_joints_of_the_same_name_and_place_are_kept(dims, source, target):
    limbs = {
        f'{side}_{name}' for side in ('left', 'right') for name in ('shoulder', 'elbow', 'hip')
    }
    x = poses(source, dims)
    mapped = turned(map_layout(x, source, target), source, target)
    for name in limbs | {'left_knee', 'right_knee'}:
        np.testing.assert_array_equal(joint(mapped, target, name), joint(x, source, name))


@pytest.mark.parametrize('layout', LAYOUTS)
def test_identity(layout):
    x = poses(layout, get_layout(layout).dims)
    assert map_layout(x, layout, layout) is x


@pytest.mark.parametrize(
    'path', ['kinect20 ntu25 kinect20', 'coco17 halpe26 coco17', 'openpose18 openpose25 openpose18']
)
def test_round_trip(path):
    first, second, third = path.split()
    x = poses(first, get_layout(first).dims)
    np.testing.assert_array_equal(map_layout(map_layout(x, first, second), second, third), x)


def test_known_values_of_kinect20_to_ntu25():
    x = poses('kinect20')
    y = map_layout(x, 'kinect20', 'ntu25')
    np.testing.assert_array_equal(y[..., [0, 1, 20, 3], :], x[..., [0, 1, 2, 3], :])
    np.testing.assert_array_equal(y[..., 4:20, :], x[..., 4:20, :])
    np.testing.assert_allclose(y[..., 2, :], (2 * x[..., 2, :] + x[..., 3, :]) / 3)
    for wrist, hand, tip, thumb in ((6, 7, 21, 22), (10, 11, 23, 24)):
        expected = x[..., hand, :] + 0.9 * (x[..., hand, :] - x[..., wrist, :])
        np.testing.assert_allclose(y[..., tip, :], expected)
        np.testing.assert_array_equal(y[..., thumb, :], x[..., hand, :])


def test_known_values_of_other_rules():
    x = poses('coco17', 2)
    y = map_layout(x, 'coco17', 'openpose25')
    np.testing.assert_allclose(y[..., 1, :], (x[..., 5, :] + x[..., 6, :]) / 2)  # neck
    np.testing.assert_allclose(y[..., 8, :], (x[..., 11, :] + x[..., 12, :]) / 2)  # MidHip
    np.testing.assert_array_equal(y[..., 19, :], x[..., 15, :])  # LBigToe = left ankle

    x = poses('openni15')
    y = map_layout(x, 'openni15', 'ntu25')
    np.testing.assert_allclose(y[..., 0, :], (x[..., 9, :] + x[..., 12, :]) / 2)  # spine base
    np.testing.assert_array_equal(y[..., 20, :], x[..., 1, :])  # spine shoulder = neck
    np.testing.assert_allclose(y[..., 6, :], 0.23 * x[..., 4, :] + 0.77 * x[..., 5, :])  # wrist

    x = poses('mediapipe33')
    y = map_layout(x, 'mediapipe33', 'ntu25') * (-1, -1, 1)  # x right, y down -> x left, y up
    shoulders, hips = (x[..., pair, :].mean(-2) for pair in ([11, 12], [23, 24]))
    np.testing.assert_allclose(y[..., 20, :], shoulders)
    np.testing.assert_allclose(y[..., 1, :], 0.4 * hips + 0.6 * shoulders)
    np.testing.assert_allclose(y[..., 7, :], x[..., [15, 17, 19], :].mean(-2))  # left hand

    x = poses('azure32')
    y = map_layout(x, 'azure32', 'kinect20') * (-1, -1, 1)
    np.testing.assert_array_equal(y[..., 0, :], x[..., 0, :])
    np.testing.assert_allclose(y[..., 2, :], (x[..., 4, :] + x[..., 11, :]) / 2)
    np.testing.assert_array_equal(y[..., 3, :], x[..., 26, :])


def test_order_along_the_spine():
    """On an upright body the mapped spine rises from the hips to the head."""
    order = ['spine_base', 'spine_mid', 'spine_shoulder', 'neck', 'head']
    heights = dict(hip=0.0, shoulder=0.5, clavicle=0.5, head=0.75, ear=0.75, torso=0.25, neck=0.55)
    heights.update(spine_navel=0.17, spine_chest=0.3, pelvis=0.0, hip_center=0.0, spine=0.09)
    heights.update(shoulder_center=0.5)
    for source in ('kinect20', 'openni15', 'azure32', 'mocap21', 'mediapipe33'):
        names = [
            name.removeprefix('left_').removeprefix('right_') for name in LAYOUTS[source].joints
        ]
        up = -1 if source in ('azure32', 'mediapipe33') else 1
        x = np.array([[0.1, up * heights.get(name, -1.0), 0.1] for name in names])
        y = map_layout(x, source, 'ntu25')[[NTU25.index(name) for name in order], 1]
        assert (np.diff(y) >= 0).all() and y[1] > y[0] and y[4] > y[2], (source, y)


@pytest.mark.parametrize('source', ['azure32', 'mediapipe33'])
def test_people_stay_upright_and_right_handed(source):
    """Somebody who faces the camera: the head is up, the left hand on the camera's right."""
    x = np.ones((get_layout(source).num_joints, 3)) * (0, 1, 2)  # y down: below the camera
    x[get_layout(source).index('left_ear')] = (0.1, -0.5, 2)
    x[get_layout(source).index('right_ear')] = x[get_layout(source).index('nose')] = (0, -0.5, 2)
    if source == 'azure32':
        x[get_layout(source).index('head')] = (0, -0.5, 2)
    x[get_layout(source).index('left_wrist')] = (0.6, 0.2, 1.5)
    y = map_layout(x, source, 'ntu25')
    assert joint(y, 'ntu25', 'head')[1] == 0.5 and joint(y, 'ntu25', 'left_foot')[1] == -1
    np.testing.assert_array_equal(joint(y, 'ntu25', 'left_wrist'), (-0.6, -0.2, 1.5))
    np.testing.assert_allclose(
        joint(map_layout(y, 'ntu25', source), source, 'left_wrist'),
        x[get_layout(source).index('left_wrist')],
    )


def test_what_is_made_from_a_missing_joint_is_missing():
    x = poses('kinect20')
    x[0, 1, KINECT20.index('head')] = 0
    x[1, 2] = 0  # an absent person
    y = map_layout(x, 'kinect20', 'ntu25')
    absent = (y == 0).all(-1)
    assert absent[1, 2].all() and absent[0, 1].sum() == 2 and absent.sum() == 27
    assert absent[0, 1, NTU25.index('head')] and absent[0, 1, NTU25.index('neck')]


def test_scores():
    x = poses('coco17', 3)
    x[0, 0, 5, 2], x[0, 0, 6, 2] = 0.3, 0.2  # shoulders
    x[1, 0, 6, 2] = 0
    y = map_layout(x, 'coco17', 'openpose18')
    assert y[0, 0, 1, 2] == 0.2
    np.testing.assert_allclose(y[0, 0, 1, :2], x[0, 0, 5:7, :2].mean(0))
    assert not y[1, 0, 1].any() and not y[1, 0, 2].any() and y[1, 0, 5].all()


@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64'])
def test_arrays_and_tensors(dtype):
    x = poses('ntu25').astype(dtype)
    x.flags.writeable = False
    array = map_layout(x, 'ntu25', 'azure32')
    tensor = map_layout(torch.tensor(x), 'ntu25', 'azure32')
    assert array.dtype == x.dtype and tensor.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(array, tensor.numpy())


def test_integers_become_float32():
    y = map_layout(np.ones((3, 17, 2), dtype=np.int64), 'coco17', 'halpe26')
    assert y.dtype == np.float32 and np.allclose(y, 1)


def test_gradients_pass_through():
    x = torch.rand(2, 20, 3, requires_grad=True)
    map_layout(x, 'kinect20', 'ntu25').sum().backward()
    np.testing.assert_allclose(x.grad.sum(), 25 * 3 * 2, rtol=1e-6)


@pytest.mark.parametrize(
    'source, target, shape, message',
    [
        ('kinect20', 'coco17', (5, 20, 3), "'kinect20' to 'coco17'.*ntu25.*coco17, openpose18"),
        (
            dict(joints=['a'], parents=['a'], center='a', shoulders=['a', 'a']),
            'ntu25',
            (1, 1, 3),
            "'custom' to 'ntu25'",
        ),
        ('kinect20', 'ntu25', (5, 25, 3), r'shape \(5, 25, 3\).*\(..., 20, 3\)'),
        ('mediapipe33', 'coco17', (5, 33, 4), r'\(..., 33, 2\)'),
        ('mediapipe33', 'ntu25', (33, 2), r'\(..., 33, 3\)'),
        ('kinect20', 'ntu25', (3,), 'shape'),
    ],
)
def test_refused(source, target, shape, message):
    with pytest.raises(ValueError, match=message):
        map_layout(np.ones(shape), source, target)


@pytest.mark.skipif(not UTD_MHAD.exists(), reason='the data set is not there')
def test_recordings_keep_the_lengths_of_their_bones():
    annotations = pickle.loads(UTD_MHAD.read_bytes())['annotations']
    keypoints = [annotation['keypoint'] for annotation in annotations[::20]]

    for x in keypoints:
        y = map_layout(x, 'kinect20', 'ntu25')
        assert y.dtype == np.float32 and y.any(-1).all()
        names = KINECT20.joints[4:]  # limbs
        for a, b in ((a - 1, b - 1) for a, b in UCLA_EDGES if min(a, b) > 4):
            length = np.linalg.norm(x[:, :, a] - x[:, :, b], axis=-1)
            ends = [y[:, :, NTU25.index(names[i - 4])] for i in (a, b)]
            np.testing.assert_allclose(np.linalg.norm(ends[0] - ends[1], axis=-1), length)
