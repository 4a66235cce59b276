"""Pictures of sequences: places, colours and frames that are known."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from mmengine.config import Config
from PIL import Image

from aimclr_mm.skeletons import LAYOUTS, get_layout
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
from aimclr_mm.visualization.skeletons.geometry import (
    SIDES,
    bone_colors,
    choose_frames,
    drawn_points,
    limits,
)

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


def recording(people: int = 1, frames: int = 12, layout=NTU, seed: int = 0) -> dict:
    """Coordinates none of which is zero."""
    keypoint = np.random.default_rng(seed).uniform(
        0.1, 1, (people, frames, layout.num_joints, layout.dims)
    )
    return dict(frame_dir='made up', keypoint=keypoint.astype(np.float32), total_frames=frames)


def stick(hands) -> dict:
    """Frames of a root at (10, 10) and two hands."""
    return dict(
        frame_dir='stick', keypoint=np.array([[[(10, 10), *pair] for pair in hands]], np.float32)
    )


# places


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


def test_image_coordinates_grow_downwards():
    points = drawn_points(stick([((3, 4), (5, 6))]), STICK)
    np.testing.assert_array_equal(points[0, 0], [(10, -10), (3, -4), (5, -6)])


def test_absent_people_frames_and_joints_are_not_drawn():
    made = recording(people=3, layout=COCO)
    made['keypoint'][1] = 0
    made['keypoint'][2, 4:] = 0
    made['keypoint_score'] = np.ones((3, 12, 17), np.float32)
    made['keypoint_score'][0, 5, 9] = 0
    expected = np.ones((3, 12, 17), bool)
    expected[1], expected[2, 4:], expected[0, 5, 9] = False, False, False
    np.testing.assert_array_equal(np.isfinite(drawn_points(made, COCO)).all(axis=3), expected)


def test_a_joint_at_the_origin_is_drawn():
    made = recording()
    made['keypoint'][:, :, NTU.center_index] = 0
    assert np.isfinite(drawn_points(made, NTU)).all()


def test_frames_of_a_strip_show_somebody():
    made = recording(frames=20)
    made['keypoint'][:, [0, 1, 7, 18, 19]] = 0
    points = drawn_points(made, NTU)
    assert choose_frames(points, 2, '').tolist() == [2, 17] and choose_frames(
        points, 1, ''
    ).tolist() == [2]
    assert choose_frames(points, 15, '').tolist() == [2, 3, 4, 5, 6, *range(8, 18)]
    assert len(choose_frames(points, None, '')) == 8


def test_a_pose_without_extent_gets_some():
    center, size = limits(np.array([[3.0, 4.0], [3.0, 4.0]]))
    assert center.tolist() == [3, 4] and (size > 0).all()


# colours and bones


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_sides_have_their_colours(layout):
    colors = dict(zip(layout.edges, bone_colors(layout), strict=True))
    for (joint, _), color in colors.items():
        name = layout.joints[joint]
        assert (
            color == SIDES['left' if 'left_' in name else 'right' if 'right_' in name else 'middle']
        )
    assert len(set(SIDES.values())) == 3


def bones(figure, axis: int) -> list[np.ndarray]:
    """Segments (E, 2, 2) of each person and frame in one film strip."""
    return [
        np.array(lines.get_segments())
        for lines in figure.axes[axis].collections
        if isinstance(lines, LineCollection)
    ]


def test_a_strip_shows_the_poses_at_one_scale():
    hands = [((0, 10), (30, 10)), ((10, 0), (10, 20)), ((10, 5), (20, 10))]
    figure = draw_strips([Strip(stick(hands), 'title', border='#00ff00')], STICK, frames=3)
    axes, lengths = figure.axes[0], []
    for segments, (left, right) in zip(bones(figure, 0), hands, strict=True):
        lengths += (
            np.linalg.norm(segments[:, 0] - segments[:, 1], axis=1)
            / np.linalg.norm(np.array([left, right]) - 10, axis=1)
        ).tolist()
    np.testing.assert_allclose(lengths, lengths[0])
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
    draw_strips(
        [Strip(recording(), 'a $b_c'), Strip(recording(frames=1), 'x' * 300)],
        NTU,
        str(path),
        columns=2,
    )
    assert path.read_bytes()[:4] in (b'\x89PNG', b'<?xm', b'%PDF')


# animation


def test_what_does_not_move_stays_in_its_place():
    """One hand moves far; all other pixels are the same in all frames, so that the limits are."""
    frames = list(render(stick([((5, 15), (10 + t, 10)) for t in range(1, 9)]), STICK))
    bone = (np.abs(frames[0].astype(int) - [0x3F, 0x90, 0xDA]).sum(axis=2) < 30).nonzero()
    assert len(bone[0]) > 50
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame[bone], frames[0][bone])


@pytest.mark.parametrize('fps', [0.5, 12, 30, 50])
def test_time_is_kept(fps):
    times = durations(90, fps)
    assert sum(times) == pytest.approx(90_000 / fps, abs=10) and set(
        np.diff(sorted(set(times)))
    ) <= {10}


@pytest.mark.parametrize('frames', [1, 7])
def test_gif_has_every_frame(tmp_path, frames):
    made = recording(people=2, frames=frames)
    made['keypoint'][:, frames // 2 + 1 : frames - 1] = 0  # nobody there, yet time passes
    animate(made, NTU, str(tmp_path / 'made.gif'), 25, 'title')
    with Image.open(tmp_path / 'made.gif') as image:
        assert image.n_frames == frames
        times = []
        for t in range(frames):
            image.seek(t)
            times.append(image.info['duration'])
            assert image.convert('RGB').getpixel((2, 100)) == (255, 255, 255)
    assert times == [40] * frames


# errors


@pytest.mark.parametrize(
    'made, layout, message',
    [
        (recording(), COCO, r"'made up' has shape \(1, 12, 25, 3\); layout 'coco17' needs"),
        (
            dict(frame_dir='x', keypoint=np.zeros((1, 3, 25, 3))),
            NTU,
            "'x' holds no skeleton: all of its 3 frames",
        ),
        (
            recording(frames=3),
            NTU,
            "4 frames are asked for; 'made up' shows somebody in 3 frames: give 1 to 3",
        ),
    ],
)
def test_sequences_that_cannot_be_drawn(made, layout, message):
    with pytest.raises(ValueError, match=message):
        draw_strips([Strip(made)], layout, frames=4)


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: View(up='x'), "up='x'; known are y, z, -y"),
        (lambda: View(elev=91), 'elev from -90 to 90'),
        (lambda: draw_strips([], NTU), '0 film strips; a picture holds 1 to 120'),
        (lambda: durations(1, 0), 'fps=0; a GIF plays more than 0 and at most 50'),
        (lambda: animate(recording(), NTU, 'x.png'), "'x.png': an animation is a .gif file"),
        (
            lambda: animate(recording(frames=3001), NTU, 'x.gif'),
            'has 3001 frames; a GIF is made of at most 3000',
        ),
        (lambda: neighbors.mine(torch.eye(3), torch.eye(3), [0, 1, 2], 3), 'give 1 to 2'),
        (
            lambda: neighbors.choose_queries(['a', 'b'], None, 3, 0),
            'the training split has 2 sequences',
        ),
        (
            lambda: neighbors.choose_queries(list('abcdefg'), ['x'], 1, 0),
            "no sequence 'x'; the first of its 7 are 'a', 'b'",
        ),
        (
            lambda: augmentations.build_views(Config(dict(model=dict(type='x')))),
            'makes no views of a sequence',
        ),
        (lambda: eadm.find_eadm(torch.nn.Linear(1, 1)), 'Linear of the config has no EADM'),
        (
            lambda: neighbors.load_keys(torch.nn.Linear(1, 1), 'random'),
            'Linear of the config has no keys',
        ),
    ],
)
def test_errors_name_the_limit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
