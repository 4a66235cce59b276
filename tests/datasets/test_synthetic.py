"""Synthetic actions: reproducible, anatomically plausible, not solved by raw coordinates."""

import re
from collections import Counter

import numpy as np
import pytest

from aimclr_mm.datasets import synthetic
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.datasets.synthetic import ACTIONS, synthesize
from aimclr_mm.skeletons import NTU25

FRAMES = 50
PAIRS = ('punch', 'push', 'handshake', 'hug')


@pytest.fixture(scope='module')
def dataset():
    return Synthetic(subjects=8).dataset()


def bone_lengths(keypoint: np.ndarray) -> np.ndarray:
    """Return the distances (..., V) of the joints from their parents."""
    return np.linalg.norm(keypoint - keypoint[..., list(NTU25.bones), :], axis=-1)


def joint(keypoint: np.ndarray, name: str) -> np.ndarray:
    """Return the track (M, T, 3) of a joint, meters."""
    return keypoint[:, :, NTU25.index(name)]


def facing(camera: int) -> float:
    """Return the mean direction of the shoulder line about y in front of a camera, degrees."""
    poses = [synthesize('wave', subject, camera, 1, noise=False) for subject in range(1, 41)]
    lines = [(joint(pose, 'left_shoulder') - joint(pose, 'right_shoulder'))[0] for pose in poses]
    return np.degrees(np.angle(sum(np.mean(line[:, 0] + 1j * line[:, 2]) for line in lines)))


def features(keypoint: np.ndarray, align: bool) -> np.ndarray:
    """Return flat coordinates of 2 persons in 50 frames, aligned or only centered on frame 0."""
    pose, (left, right), center = keypoint.astype(float), NTU25.shoulder_indices, NTU25.center_index
    pose = pose - pose[:, : None if align else 1, center, None]
    if align:
        line = pose[:, :, left] - pose[:, :, right]
        angle = np.arctan2(line[..., 2], line[..., 0])[..., None]  # (M, T, 1)
        x, y, z = np.moveaxis(pose, -1, 0)  # (M, T, V) each
        pose = np.stack(
            [np.cos(angle) * x + np.sin(angle) * z, y, np.cos(angle) * z - np.sin(angle) * x], -1
        )
    at = np.linspace(0, pose.shape[1] - 1, FRAMES)
    low = at.astype(int)
    high, part = np.minimum(low + 1, pose.shape[1] - 1), (at - low)[:, None, None]
    out = np.zeros((2, FRAMES, *pose.shape[2:]))
    out[: len(pose)] = pose[:, low] * (1 - part) + pose[:, high] * part
    return out.ravel()


def nearest_neighbor(dataset: dict, split: str, align: bool) -> tuple[float, float]:
    """Return the 1-NN accuracy by cosine and by Euclidean distance."""
    names, label, x = zip(
        *(
            (sample['frame_dir'], sample['label'], features(sample['keypoint'], align))
            for sample in dataset['annotations']
        )
    )
    label, x, train = (
        np.array(label),
        np.stack(x),
        np.isin(names, dataset['split'][f'{split}_train']),
    )
    norm = np.linalg.norm(x, axis=1)
    dot = x[~train] @ x[train].T
    cosine, euclidean = -dot / norm[train], norm[train] ** 2 - 2 * dot
    return tuple(np.mean(label[train][d.argmin(1)] == label[~train]) for d in (cosine, euclidean))


def test_depends_on_its_arguments_alone():
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    first = synthesize('push', 2, 1, 3, seed=4)
    assert np.array_equal(state, np.random.get_state()[1])
    synthetic._body.cache_clear()
    np.random.seed(2)
    assert np.array_equal(first, synthesize(ACTIONS.index('push'), 2, 1, 3, seed=4))
    for other in (
        ('push', 1, 1, 3, 4),
        ('push', 2, 2, 3, 4),
        ('push', 2, 1, 1, 4),
        ('push', 2, 1, 3, 0),
    ):
        assert not np.array_equal(first, synthesize(*other))


@pytest.mark.parametrize('action', ACTIONS)
def test_shape_and_rigid_bones(action):
    pose = synthesize(action, 1, 1, 1, noise=False)
    assert pose.dtype == np.float32
    assert pose.shape == (2 if action in PAIRS else 1, pose.shape[1], 25, 3)
    assert synthetic.MIN_FRAMES <= pose.shape[1] <= synthetic.MAX_FRAMES
    lengths = bone_lengths(pose)
    assert np.ptp(lengths, axis=1).max() < 1e-5
    root = NTU25.center_index
    assert np.delete(lengths, root, axis=-1).min() > 0.02 and lengths.max() < 0.6
    assert 2 < pose[..., 2].mean() < 4.5


def test_subject_keeps_body():
    def body(*args):
        return bone_lengths(synthesize(*args, noise=False))[0, 0]

    reference = body('wave', 1, 1, 1)
    np.testing.assert_allclose(body('kick', 1, 3, 2), reference, atol=1e-5)
    assert np.abs(body('wave', 2, 1, 1) - reference).max() > 0.01


def test_forward_kinematics_of_single_rotations():
    offsets = synthetic._body(0, 1).offsets
    angles = np.zeros((3, NTU25.num_joints + 1, 3))
    left, right = NTU25.shoulder_indices
    angles[0, right] = 90, 0, 0
    angles[1, [left, right]] = 0, 90, 0
    angles[2, -1] = 1, 2, 3
    pose = synthetic._forward_kinematics(angles, offsets)
    arms = pose[:, [NTU25.index('left_wrist'), NTU25.index('right_wrist')]] - pose[:, [left, right]]
    length = -arms[2, 0, 1]
    np.testing.assert_allclose(
        arms / length,
        [[[0, -1, 0], [0, 0, 1]], [[1, 0, 0], [-1, 0, 0]], [[0, -1, 0], [0, -1, 0]]],
        atol=1e-12,
    )
    np.testing.assert_allclose(pose[2, NTU25.index('spine_base'), [0, 2]], [2, 1], atol=1e-12)
    np.testing.assert_allclose(pose[:, :, 1].min(axis=1), [0, 0, 3], atol=1e-12)


@pytest.mark.parametrize(
    'action, limb, moves, rests',
    [
        ('wave', 'hand', 0.4, 0),
        ('kick', 'foot', 0.3, 0),
        ('squat', 'hip', 0.12, 0),
        ('jump', 'foot', 0.12, 0),
        ('walk_in_place', 'knee', 0.05, 0),
        ('wave', 'foot', 0, 0.12),
        ('punch', 'foot', 0, 0.15),
    ],
)
def test_action_moves_its_limb(action, limb, moves, rests):
    poses = [synthesize(action, subject, 2, 1, noise=False) for subject in range(1, 13)]
    heights = [
        max(
            np.ptp(joint(pose, f'{side}_{limb}')[..., 1], axis=1).max()
            for side in ('left', 'right')
        )
        for pose in poses
    ]
    assert np.median(heights) > moves
    assert not rests or np.median(heights) < rests


def test_cameras_see_different_sides():
    views = [facing(camera) for camera in (1, 2, 3)]
    turns = (np.diff(views) + 180) % 360 - 180
    np.testing.assert_allclose(np.abs(turns), 45, atol=15)
    assert turns[0] * turns[1] > 0
    assert (
        abs(abs(views[1]) - 180) < 15
    )  # in front of camera 2 the left side of a person is at negative x


def test_sensor_noise():
    lost, jitter = [], []
    for subject in range(1, 41):
        clean, noisy = (
            synthesize('handshake', subject, 2, 1, noise=noise) for noise in (False, True)
        )
        gone = (noisy == 0).all(axis=(2, 3))
        assert np.array_equal(gone, (noisy == 0).any(axis=(2, 3)))
        lost.append(gone.mean())
        jitter.append((noisy - clean)[~gone].ravel())
    assert 0.005 < np.mean(lost) < 0.05
    error = np.abs(np.concatenate(jitter))
    assert 0.005 < np.median(error) < 0.02 and 0.001 < np.mean(error > 0.08) < 0.01


def test_format(dataset):
    names = [sample['frame_dir'] for sample in dataset['annotations']]
    assert len(set(names)) == len(names) == 8 * 3 * 2 * len(ACTIONS)
    for sample in dataset['annotations']:
        assert set(sample) == {
            'frame_dir',
            'label',
            'keypoint',
            'total_frames',
            'subject',
            'camera',
        }
        assert re.fullmatch(r'S001C\d{3}P\d{3}R\d{3}A\d{3}', sample['frame_dir'])
        assert int(sample['frame_dir'][-3:]) == sample['label'] + 1
        assert sample['keypoint'].shape[1:] == (sample['total_frames'], 25, 3)
        assert np.isfinite(sample['keypoint']).all()
    assert set(Counter(sample['label'] for sample in dataset['annotations']).values()) == {
        8 * 3 * 2
    }
    split = Synthetic((), 1, 1, 1).dataset()['split']
    assert {name: len(names) for name, names in split.items()} == dict(xsub_train=14, xview_val=14)


def test_splits(dataset):
    split, names = dataset['split'], {sample['frame_dir'] for sample in dataset['annotations']}
    for protocol in ('xsub', 'xview'):
        train, val = set(split[f'{protocol}_train']), set(split[f'{protocol}_val'])
        assert not train & val and train | val == names
    assert {int(name[9:12]) for name in split['xsub_train']} == {1, 3, 5, 7}
    assert {int(name[9:12]) for name in split['xsub_val']} == {2, 4, 6, 8}
    assert {name[4:8] for name in split['xview_train']} == {'C002', 'C003'}
    assert {name[4:8] for name in split['xview_val']} == {'C001'}


def test_subset_of_actions_keeps_labels():
    annotations = Synthetic((), 1, 1, 1, actions=['bow', 0]).dataset()['annotations']
    assert [sample['label'] for sample in annotations] == [0, ACTIONS.index('bow')]
    assert np.array_equal(annotations[0]['keypoint'], synthesize(0, 1, 1, 1))


@pytest.mark.parametrize(
    'split, align, low, high',
    [
        ('xview', True, 0.5, 0.8),
        ('xsub', True, 0.4, 0.75),
        ('xview', False, 0.15, 0.8),
        ('xsub', False, 0.15, 0.75),
    ],
)
def test_raw_nearest_neighbor_is_between_chance_and_solved(dataset, split, align, low, high):
    for accuracy in nearest_neighbor(dataset, split, align):
        assert low < accuracy < high


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: synthesize('dance', 1, 1, 1), 'dance'),
        (lambda: synthesize(14, 1, 1, 1), 'action=14.* 0 to 13'),
        (lambda: synthesize(-1, 1, 1, 1), 'action=-1.* 0 to 13'),
        (lambda: synthesize(0, 0, 1, 1), 'subject=0.* 1 to 999'),
        (lambda: synthesize(0, 1, 4, 1), 'camera=4.* 1 to 3'),
        (lambda: synthesize(0, 1, 1, 1000), 'repetition=1000.* 1 to 999'),
        (lambda: synthesize(0, 1, 1, 1, seed=-1), 'seed=-1.* 0 to'),
        (lambda: Synthetic(subjects=1000), 'subjects=1000.* 1 to 999'),
        (lambda: Synthetic(cameras=4), 'cameras=4.* 1 to 3'),
        (lambda: Synthetic(repetitions=0), 'repetitions=0.* 1 to 999'),
        (lambda: Synthetic(actions=['dance']), 'dance'),
    ],
)
def test_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()
