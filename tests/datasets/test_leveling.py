"""Tilted cameras are recognized and what they saw is turned upright."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aimclr_mm.apis import cli
from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.leveling import Cameras, check_trunk, has_trunk, rotation, trunk_direction
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.skeletons import COCO17, HANDS21, MEDIAPIPE33, NTU25, get_layout
from tests.runs import call_tool

UP = np.array([0.0, 1.0, 0.0])


def tilt(keypoint, degrees: float, axis: str = 'x'):
    """Turn skeletons (M, T, V, 3) as a camera that looks down by so many degrees sees them."""
    return keypoint @ Rotation.from_euler(axis, -degrees, degrees=True).as_matrix().T


def person(frames: int = 5) -> np.ndarray:
    """Return somebody who stands upright (1, T, 25, 3): only hips and shoulders."""
    x = np.zeros((1, frames, 25, 3), np.float32)
    for part, height in (('hip', 1.0), ('shoulder', 1.5)):
        for side, place in (('left', 0.2), ('right', -0.2)):
            x[..., NTU25.index(f'{side}_{part}'), :] = place, height, 3
    return x


@pytest.mark.parametrize('degrees', [0, 12, -30])
def test_trunk_of_a_known_tilt(degrees):
    angle = np.radians(degrees)
    expected = 0, np.cos(angle), -np.sin(angle)  # the shoulders of a camera above are closer
    annotation = dict(keypoint=tilt(person(), degrees))
    np.testing.assert_allclose(trunk_direction(annotation, NTU25), expected, atol=1e-6)


def test_trunk_is_the_median_of_frames_that_show_it():
    x = person(9)
    x[:, :2] = tilt(x[:, :2], 80)  # bows
    x[:, 2] = 0
    x[:, 3, NTU25.index('left_hip')] = 0
    np.testing.assert_allclose(trunk_direction(dict(keypoint=x), NTU25), UP, atol=1e-6)
    assert trunk_direction(dict(keypoint=0 * x), NTU25) is None


def test_joints_of_score_0_are_not_seen():
    x, score = person(5), np.ones((1, 5, 25))
    x[:, :3] = tilt(x[:, :3], 80)
    assert trunk_direction(dict(keypoint=x, keypoint_score=score), NTU25)[1] < 0.2
    score[:, :3, NTU25.index('left_hip')] = 0
    found = trunk_direction(dict(keypoint=x, keypoint_score=score), NTU25)
    np.testing.assert_allclose(found, UP, atol=1e-6)


@pytest.mark.parametrize('layout', [COCO17, HANDS21])
def test_layouts_without_a_trunk_in_space(layout):
    assert not has_trunk(layout)
    annotation = dict(keypoint=np.ones((1, 2, layout.num_joints, layout.dims)))
    assert trunk_direction(annotation, layout) is None
    assert Cameras(layout).sentence() == ''
    with pytest.raises(ValueError, match=f'shoulders, which layout {layout.name!r} does not have'):
        check_trunk(layout)


@pytest.mark.parametrize('seed', range(3))
def test_rotation_is_the_smallest_one_between_two_directions(seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 3))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    matrix = rotation(a, b)
    np.testing.assert_allclose(matrix @ a, b, atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    found = Rotation.from_matrix(matrix).magnitude()
    assert found == pytest.approx(np.arccos(a @ b)) and np.linalg.det(matrix) > 0


def cameras_of(*tilts: tuple, axis: str = 'x') -> tuple[Cameras, list[dict]]:
    """Return what cameras saw of somebody who stands, given camera and angle of each sequence."""
    cameras = Cameras(NTU25)
    annotations = [
        dict(camera=camera, keypoint=tilt(person(), degrees, axis).astype(np.float32))
        for camera, degrees in tilts
    ]
    for annotation in annotations:
        cameras.add(annotation, trunk_direction(annotation, NTU25))
    return cameras, annotations


def test_each_camera_is_turned_by_its_own_angle():
    lies = (1, 70)
    cameras, annotations = cameras_of(lies, *5 * [(1, 20), (2, -10), (None, 0)], (3, 30))
    assert list(cameras.angles().values()) == pytest.approx([20, 10, 0], abs=1e-4)
    assert cameras.sentence().startswith('people in front of 3 cameras lean by 0.0 to 20.0 degrees')

    cameras.fit()
    assert cameras.sentence().endswith('1 with fewer than 5 recordings were left as they are')
    lying, *standing, rare = (cameras.turn(annotation)['keypoint'] for annotation in annotations)
    for keypoint in standing:
        np.testing.assert_allclose(keypoint, person(), atol=1e-5)
        assert keypoint.dtype == np.float32
    np.testing.assert_allclose(lying, tilt(person(), 50), atol=1e-5)
    np.testing.assert_array_equal(rare, annotations[-1]['keypoint'])


def test_small_angles_are_not_mentioned():
    assert cameras_of(*5 * [(1, 7.9)])[0].sentence() == ''
    assert 'the camera lean by 8.1 degrees' in cameras_of(*5 * [(1, 8.1)])[0].sentence()


def test_other_axes_are_not_a_tilt():
    cameras, _ = cameras_of(*5 * [(1, 10)], *5 * [(2, 90)])
    assert cameras.sentence() == ''
    with pytest.raises(ValueError, match=r'camera 2 \(setup None\) lean by 90 degrees on average'):
        cameras.fit()


def test_people_without_a_common_direction_are_left():
    cameras = Cameras(NTU25)
    for direction in np.repeat(np.eye(3), 5, axis=0):
        cameras.add({}, direction)
    assert cameras.angles() == {} and cameras.sentence() == ''
    cameras.fit()
    annotation = dict(keypoint=person())
    assert cameras.turn(annotation) is annotation


def test_y_points_down_in_some_layouts():
    cameras = Cameras(MEDIAPIPE33)
    for _ in range(5):
        cameras.add({}, -UP)
    assert list(cameras.angles().values()) == [0]


class Tilted(Synthetic):
    """Generated actions, seen by cameras that are tilted by 5 and 25 degrees more."""

    def read(self, recording):
        (annotation,) = super().read(recording)
        degrees = {1: 5, 2: 25}[annotation['camera']]
        keypoint = tilt(annotation['keypoint'], degrees).astype(np.float32)
        return [dict(annotation, keypoint=keypoint)]


def test_prepared_data_are_level(tmp_path):
    found = {}
    for name, reader in (('plain', Tilted((), 3, 2, 1)), ('level', Tilted((), 3, 2, 1))):
        reader.level = name == 'level'
        summary = prepare(reader, str(tmp_path / name), workers=1)
        data = read_pickle(str(tmp_path / name))
        assert data['metainfo'].get('level', False) == reader.level
        cameras = Cameras(get_layout(data['metainfo']['layout']))
        for annotation in data['annotations']:
            assert 'trunk' not in annotation
            cameras.add(annotation, trunk_direction(annotation, NTU25))
        found[name] = list(cameras.angles().values()), str(summary)

    (low, high), text = found['plain']
    assert high > 18 and high - low > 15
    assert f'lean by {low:.1f} to {high:.1f} degrees' in text and '--level turns it upright' in text
    angles, text = found['level']
    assert max(angles) < 1
    assert f'what 2 cameras saw was turned upright, by {low:.1f} to {high:.1f} degrees' in text


def test_the_command_levels_recordings_of_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'films' / 'stand').mkdir(parents=True)
    for i, degrees in enumerate((18, 22, 20, 20, 20)):
        np.save(tmp_path / 'films' / 'stand' / f'{i}.npy', tilt(person(), degrees))
    command = ['prepare_data.py', 'folders', 'films', '--workers', '1', '--out', 'level.pkl']

    cli.run(lambda: call_tool(*command))
    assert 'people in front of the camera lean by 20.0 degrees' in capsys.readouterr().out
    cli.run(lambda: call_tool(*command, '--level'))
    assert 'the camera saw was turned upright, by 20.0 degrees' in capsys.readouterr().out
    found = [a['keypoint'] for a in read_pickle('level.pkl')['annotations']]
    np.testing.assert_allclose(found[2], person(), atol=1e-5)


def test_poses_in_a_picture_cannot_be_leveled(tmp_path):
    reader = Synthetic((), 1, 1, 1)
    reader.layout, reader.level = 'coco17', True
    with pytest.raises(ValueError, match="--level needs three coordinates, .* 'coco17'"):
        prepare(reader, str(tmp_path / 'out.pkl'), workers=1)
    assert not list(tmp_path.iterdir())
