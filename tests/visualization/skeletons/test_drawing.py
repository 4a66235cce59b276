"""Film strips and animations: positions, colors and frames of known sequences."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from mmengine.config import Config
from PIL import Image

from aimclr_mm.skeletons import LAYOUTS, get_layout, map_layout
from aimclr_mm.visualization.skeletons import (
    Strip,
    View,
    animate,
    augmentations,
    draw_strips,
    durations,
    eadm,
    neighbors,
)
from aimclr_mm.visualization.skeletons.animation import render
from aimclr_mm.visualization.skeletons.bones import SIDE_COLORS, bone_colors
from aimclr_mm.visualization.skeletons.geometry import (
    bounding_box,
    choose_frames,
    project_joints,
)

from .made import recording

NTU, COCO = LAYOUTS['ntu25'], LAYOUTS['coco17']
STICK = get_layout(
    dict(
        name='stick',
        joints=('root', 'left_hand', 'right_hand'),
        parents=('root',) * 3,
        center='root',
        dims=2,
        shoulders=('left_hand', 'right_hand'),
    )
)


def stick(hands) -> dict:
    """Return frames of a root at (10, 10) and two hands."""
    keypoint = np.array([[[(10, 10), *pair] for pair in hands]], np.float32)
    return dict(frame_dir='stick', keypoint=keypoint)


# projection


@pytest.mark.parametrize(
    'view, x, y, z',
    [
        (View(0, 0), (-1, 0), (0, 1), (0, 0)),  # the sensor looks along z, x grows to its left
        (View(0, 90), (0, 0), (0, 1), (-1, 0)),  # from the side of growing x
        (View(0, 180), (1, 0), (0, 1), (0, 0)),  # from behind
        (View(90, 0), (-1, 0), (0, 0), (0, 1)),  # from above
        (View(0, 0, '-y'), (1, 0), (0, -1), (0, 0)),  # coordinates of OpenCV
        (View(0, 0, 'z'), (1, 0), (0, 0), (0, 1)),
    ],
)
def test_axes_in_the_picture(view, x, y, z):
    np.testing.assert_allclose(view.matrix().T, [x, y, z], atol=1e-12)


def test_views_keep_right_angles():
    for elev, azim, up in itertools.product((-30, 10, 80), (0, 33, 250), ('y', 'z', '-y')):
        matrix = View(elev, azim, up).matrix()
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-12)


def test_sensors_with_y_down_are_drawn_as_a_kinect_sees_them():
    kinect = np.random.default_rng(0).normal(size=(1, 2, 25, 3))
    azure = map_layout(kinect, 'ntu25', 'azure32')
    joints = ['left_hip', 'right_wrist', 'head']
    pictures = [
        project_joints(dict(keypoint=x), layout)[..., [layout.index(j) for j in joints], :]
        for x, layout in ((kinect, get_layout('ntu25')), (azure, get_layout('azure32')))
    ]
    np.testing.assert_allclose(*pictures, atol=1e-12)
    chosen = project_joints(dict(keypoint=azure), get_layout('azure32'), View(0, 0, 'y'))
    np.testing.assert_allclose(chosen, azure[..., :2] * (-1, 1), atol=1e-12)


def test_image_coordinates_grow_downwards():
    points = project_joints(stick([((3, 4), (5, 6))]), STICK)
    np.testing.assert_array_equal(points[0, 0], [(10, -10), (3, -4), (5, -6)])


def test_absent_people_frames_and_joints_are_not_drawn():
    made = recording(people=3, layout=COCO)
    made['keypoint'][1] = 0
    made['keypoint'][2, 4:] = 0
    made['keypoint_score'] = np.ones((3, 12, 17), np.float32)
    made['keypoint_score'][0, 5, 9] = 0

    expected = np.ones((3, 12, 17), bool)
    expected[1] = False
    expected[2, 4:] = False
    expected[0, 5, 9] = False
    np.testing.assert_array_equal(np.isfinite(project_joints(made, COCO)).all(axis=3), expected)


def test_a_joint_at_the_origin_is_drawn():
    made = recording()
    made['keypoint'][:, :, NTU.center_index] = 0
    assert np.isfinite(project_joints(made, NTU)).all()


def test_chosen_frames_show_somebody():
    made = recording(frames=20)
    made['keypoint'][:, [0, 1, 7, 18, 19]] = 0
    points = project_joints(made, NTU)
    assert choose_frames(points, 2, '').tolist() == [2, 17]
    assert choose_frames(points, 1, '').tolist() == [2]
    assert choose_frames(points, 15, '').tolist() == [2, 3, 4, 5, 6, *range(8, 18)]
    assert len(choose_frames(points, None, '')) == 8


def test_a_pose_without_extent_gets_some():
    center, size = bounding_box(np.array([[3.0, 4.0], [3.0, 4.0]]))
    assert center.tolist() == [3, 4] and (size > 0).all()


# colors and bones


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_sides_have_their_colors(layout):
    colors = dict(zip(layout.edges, bone_colors(layout), strict=True))
    for (joint, _), color in colors.items():
        name = layout.joints[joint]
        side = 'left' if 'left_' in name else 'right' if 'right_' in name else 'middle'
        assert color == SIDE_COLORS[side]
    assert len(set(SIDE_COLORS.values())) == 3


def bones(figure, axis: int) -> list[np.ndarray]:
    """Return the segments (E, 2, 2) of each person and frame in one film strip."""
    return [
        np.array(lines.get_segments())
        for lines in figure.axes[axis].collections
        if isinstance(lines, LineCollection)
    ]


def test_a_strip_shows_the_poses_at_one_scale():
    hands = [((0, 10), (30, 10)), ((10, 0), (10, 20)), ((10, 5), (20, 10))]
    figure = draw_strips([Strip(stick(hands), 'title', border='#00ff00')], STICK, frames=3)
    scales = []
    for segments, (left, right) in zip(bones(figure, 0), hands, strict=True):
        drawn = np.linalg.norm(segments[:, 0] - segments[:, 1], axis=1)
        true = np.linalg.norm(np.array([left, right]) - 10, axis=1)
        scales += (drawn / true).tolist()
    np.testing.assert_allclose(scales, scales[0])

    axes = figure.axes[0]
    assert axes.get_aspect() == 1 and axes.get_title('left') == 'title'
    assert {spine.get_edgecolor() for spine in axes.spines.values()} == {(0, 1, 0, 1)}
    raised = bones(figure, 0)[1][0]  # left hand above the root in the picture
    assert raised[0, 1] > raised[1, 1] and raised[0, 0] == pytest.approx(raised[1, 0])


def test_people_differ_and_strips_may_share_a_scale():
    small, large = recording(people=2), recording(people=2)
    large['keypoint'] *= 3

    def extent(figure, axis):
        return np.ptp(np.concatenate(bones(figure, axis)[:2]), axis=(0, 1)).max()

    figure = draw_strips([Strip(small), Strip(large)], NTU, frames=4, same_scale=True)
    assert extent(figure, 1) == pytest.approx(3 * extent(figure, 0))
    figure = draw_strips([Strip(small), Strip(large)], NTU, frames=4)
    assert extent(figure, 1) == pytest.approx(extent(figure, 0))
    first, second = (lines.get_color() for lines in figure.axes[0].collections[:2])
    assert (np.asarray(second)[:, :3] > np.asarray(first)[:, :3]).any(axis=1).all()


@pytest.mark.parametrize('ending', ['.png', '.svg', '.pdf'])
def test_strips_are_written(tmp_path, ending):
    path = tmp_path / f'strips{ending}'
    strips = [Strip(recording(), 'a $b_c'), Strip(recording(frames=1), 'x' * 300)]
    draw_strips(strips, NTU, str(path), columns=2)
    assert path.read_bytes()[:4] in (b'\x89PNG', b'<?xm', b'%PDF')


# animation


def test_what_does_not_move_stays_in_its_place():
    """One hand moves far; the pixels of the other one are the same in all frames."""
    hands = [((5, 15), (10 + t, 10)) for t in range(1, 9)]
    first, *others = render(stick(hands), STICK)
    bone = (np.abs(first.astype(int) - [0x3F, 0x90, 0xDA]).sum(axis=2) < 30).nonzero()
    assert len(bone[0]) > 50
    for frame in others:
        np.testing.assert_array_equal(frame[bone], first[bone])


@pytest.mark.parametrize('fps', [0.5, 12, 30, 50])
def test_time_is_kept(fps):
    times = durations(90, fps)
    assert sum(times) == pytest.approx(90_000 / fps, abs=10)
    assert max(times) - min(times) <= 10


@pytest.mark.parametrize('frames', [1, 7])
def test_gif_has_every_frame(tmp_path, frames):
    made = recording(people=2, frames=frames)
    made['keypoint'][:, frames // 2 + 1 : frames - 1] = 0  # nobody there, yet time passes
    animate(made, NTU, str(tmp_path / 'made.gif'), 25, 'title')
    with Image.open(tmp_path / 'made.gif') as image:
        assert image.n_frames == frames
        for t in range(frames):
            image.seek(t)
            assert image.info['duration'] == 40
            assert image.convert('RGB').getpixel((2, 100)) == (255, 255, 255)


# errors

EMPTY = dict(frame_dir='x', keypoint=np.zeros((1, 3, 25, 3)))
SHORT = recording(frames=3)


@pytest.mark.parametrize(
    'made, layout, message',
    [
        (recording(), COCO, r"'made up' has shape \(1, 12, 25, 3\); layout 'coco17' needs"),
        (EMPTY, NTU, "'x' contains no skeleton: all of its 3 frames"),
        (SHORT, NTU, "4 frames requested; 'made up' shows somebody in 3 frames: give 1 to 3"),
    ],
)
def test_sequences_that_cannot_be_drawn(made, layout, message):
    with pytest.raises(ValueError, match=message):
        draw_strips([Strip(made)], layout, frames=4)


NO_VIEWS = Config(dict(model=dict(type='x')))
LINEAR = torch.nn.Linear(1, 1)


@pytest.mark.parametrize(
    'function, arguments, message',
    [
        (View, (0, 0, 'x'), "up='x'; known are y, z, -y"),
        (View, (91,), 'elev from -90 to 90'),
        (draw_strips, ([], NTU), '0 film strips; a picture holds 1 to 120'),
        (durations, (1, 0), 'fps=0; a GIF plays more than 0 and at most 50'),
        (animate, (recording(), NTU, 'x.png'), "'x.png': an animation is a .gif file"),
        (animate, (recording(frames=3001), NTU, 'x.gif'), '3001 frames; a GIF holds at most 3000'),
        (neighbors.nearest_keys, (torch.eye(3), torch.eye(3), [0, 1, 2], 3), 'give 1 to 2'),
        (neighbors.choose_queries, (['a', 'b'], None, 3, 0), 'training split has 2 sequences'),
        (
            neighbors.choose_queries,
            (list('abcdefg'), ['x'], 1, 0),
            "no sequence 'x'; the first of its 7 are 'a', 'b'",
        ),
        (augmentations.build_views, (NO_VIEWS,), 'makes no views of a sequence'),
        (eadm.find_eadm, (LINEAR,), 'Linear of the config has no EADM'),
        (neighbors.load_keys, (LINEAR, 'random'), 'Linear of the config has no key encoder'),
    ],
)
def test_errors_name_the_limit(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
