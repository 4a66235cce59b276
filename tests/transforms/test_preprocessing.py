"""Centring, resizing and shoulder alignment against NumPy loops and OpenCV."""

import math

import cv2
import numpy as np
import pytest
import torch

from aimclr_mm.transforms import AlignShoulders, CenterSkeleton, ResizeClip

CENTER = {'ntu25': 20, 'kinect20': 2, 'coco17': 0}
JOINTS = {'ntu25': 25, 'kinect20': 20, 'coco17': 17}


def skeletons(layout='ntu25', c=3, n=2, m=2, t=11) -> torch.Tensor:
    return torch.randn(n, m, t, JOINTS[layout], c) + 2


def opencv(clip: np.ndarray, length: int) -> np.ndarray:
    """Resize (T, V, C) over T, as an image of V columns."""
    return cv2.resize(
        np.ascontiguousarray(clip), (clip.shape[1], length), interpolation=cv2.INTER_LINEAR
    )


# --- CenterSkeleton ---


@pytest.mark.parametrize('layout, d, c', [('ntu25', 3, 3), ('kinect20', 3, 4), ('coco17', 2, 3)])
def test_center_each_frame(layout, d, c):
    x = skeletons(layout, c)
    expected = x.numpy().copy()
    for n, m, t, v in np.ndindex(*expected.shape[:4]):
        expected[n, m, t, v, :d] -= x[n, m, t, CENTER[layout], :d].numpy()
    y = CenterSkeleton(layout=layout).batch(x)
    np.testing.assert_array_equal(y, expected)
    assert (y[:, :, :, CENTER[layout], :d] == 0).all()


@pytest.mark.parametrize('layout, d, c', [('ntu25', 3, 3), ('kinect20', 3, 4), ('coco17', 2, 3)])
def test_center_first_frame(layout, d, c):
    """The first frame that holds the person counts; frames without the person stay zero."""
    x = skeletons(layout, c)
    x[0, 0, :3, :, :d] = 0
    x[0, 1, 5, :, :d] = 0
    x[1, 1, :, :, :d] = 0
    expected = x.numpy().copy()
    for n, m in np.ndindex(*expected.shape[:2]):
        held = [t for t in range(11) if np.any(x[n, m, t, :, :d].numpy() != 0)]
        for t in held:
            expected[n, m, t, :, :d] -= x[n, m, held[0], CENTER[layout], :d].numpy()
    y = CenterSkeleton(frame='first', layout=layout).batch(x)
    np.testing.assert_array_equal(y, expected)
    assert (y[0, 0, :3, :, :d] == 0).all() and (y[0, 0, 3, CENTER[layout], :d] == 0).all()
    assert (y[0, 0, 4, CENTER[layout], :d] != 0).all()  # the path is kept


@pytest.mark.parametrize('frame', ['each', 'first'])
def test_center_leaves_an_absent_person_zero(frame):
    x = skeletons()
    x[:, 1] = 0
    y = CenterSkeleton(frame=frame).batch(x)
    assert (y[:, 1] == 0).all() and (y[:, 0] != 0).any()


@pytest.mark.parametrize('frame, moves', [('each', False), ('first', True)])
def test_center_and_the_path_of_the_body(frame, moves):
    step = torch.arange(11.0).view(11, 1, 1)
    x = skeletons(n=1, m=1, t=1) + step
    y = CenterSkeleton(frame=frame).batch(x)
    expected = step * moves
    torch.testing.assert_close(
        y - y[:, :, :1], expected.expand(11, 25, 3)[None, None], atol=1e-5, rtol=0
    )


# --- ResizeClip ---


@pytest.mark.parametrize(
    't, length', [(11, 50), (83, 50), (50, 50), (51, 50), (7, 3), (2, 5), (1, 4), (9, 1)]
)
@pytest.mark.parametrize('layout, c', [('ntu25', 3), ('coco17', 2)])
def test_resize_is_that_of_opencv(t, length, layout, c):
    x = skeletons(layout, c, t=t)
    expected = [[opencv(person, length) for person in sample] for sample in x.numpy()]
    y = ResizeClip(length=length, layout=layout).batch(x)
    assert y.shape == (2, 2, length, JOINTS[layout], c)
    np.testing.assert_allclose(y, expected, atol=1e-4)  # both compute positions in float32


def test_resize_against_a_loop():
    """Frame centers: output frame i is at (i + 0.5) T / length - 0.5, held at both ends."""
    x = skeletons(t=11)
    expected = np.empty((2, 2, 20, 25, 3))
    for i in range(20):
        position = min(max((i + 0.5) * 11 / 20 - 0.5, 0), 10)
        low, share = math.floor(position), position - math.floor(position)
        expected[:, :, i] = (1 - share) * x[:, :, low].numpy() + share * x[
            :, :, min(low + 1, 10)
        ].numpy()
    np.testing.assert_allclose(ResizeClip(length=20).batch(x), expected, atol=1e-5)


def test_length_is_the_number_of_frames_with_the_first_body():
    """Sample by sample, from the beginning of the clip, however long the second body stays."""
    x = skeletons(n=3, t=30)
    x[0, 0, 13:] = 0
    x[1, 0, [3, 8]] = 0  # two gaps: the last two frames are left out
    x[2, 1, 5:] = 0
    y = ResizeClip(length=20).batch(x)
    for n, frames in enumerate([13, 28, 30]):
        expected = [opencv(person[:frames], 20) for person in x[n].numpy()]
        np.testing.assert_allclose(y[n], expected, atol=1e-5)


def test_a_frame_with_one_joint_off_the_origin_is_not_empty():
    x = CenterSkeleton().batch(skeletons(t=8))
    x[:, :, 2, :24] = 0
    np.testing.assert_allclose(ResizeClip(length=8).batch(x), x, atol=0)


def test_score_does_not_count_as_a_body():
    x = skeletons('coco17', 3, n=1, t=12)
    x[:, :, 7:, :, :2] = 0
    expected = [opencv(person[:7], 10) for person in x[0].numpy()]
    np.testing.assert_allclose(
        ResizeClip(length=10, layout='coco17').batch(x)[0], expected, atol=1e-5
    )


def test_padding_does_not_change_the_result():
    x = skeletons(t=40)
    padded = torch.cat([x, torch.zeros(2, 2, 260, 25, 3)], dim=2)
    assert torch.equal(ResizeClip().batch(padded), ResizeClip().batch(x))


def test_max_frames():
    x = skeletons(t=40)
    cut = ResizeClip(length=10).batch(x[:, :, :25])
    assert torch.equal(ResizeClip(length=10, max_frames=25).batch(x), cut)
    long = skeletons(n=1, t=310)
    assert torch.equal(ResizeClip().batch(long), ResizeClip().batch(long[:, :, :300]))


def test_clip_without_the_first_body_is_taken_whole():
    x = skeletons(n=1, t=12)
    x[:, 0] = 0
    y = ResizeClip(length=20).batch(x)
    assert (y[0, 0] == 0).all()
    np.testing.assert_allclose(y[0, 1], opencv(x[0, 1].numpy(), 20), atol=1e-5)


def test_absent_second_body_stays_zero():
    x = skeletons(t=17)
    x[:, 1] = 0
    for transform in (CenterSkeleton(), ResizeClip(length=50), AlignShoulders()):
        x = transform.batch(x)
        assert (x[:, 1] == 0).all() and torch.isfinite(x).all()
    assert x.shape[2] == 50


def test_one_frame_goes_through_everything():
    x = skeletons(t=1)
    y = AlignShoulders().batch(ResizeClip(length=6).batch(CenterSkeleton().batch(x)))
    torch.testing.assert_close(
        y, AlignShoulders().batch(CenterSkeleton().batch(x)).expand(2, 2, 6, 25, 3)
    )


def test_pipeline_use():
    x = skeletons(n=1, t=19, c=4)
    results = dict(
        keypoint=x[0, ..., :3].numpy(), keypoint_score=x[0, ..., 3].numpy(), total_frames=19
    )
    for transform in (CenterSkeleton('first'), ResizeClip(length=12), AlignShoulders()):
        x, results = transform.batch(x), transform(results)
    assert results['total_frames'] == 12 and results['keypoint'].shape == (2, 12, 25, 3)
    np.testing.assert_array_equal(results['keypoint'], x[0, ..., :3])
    np.testing.assert_array_equal(results['keypoint_score'], x[0, ..., 3])


# --- AlignShoulders ---


@pytest.mark.parametrize('layout, c', [('ntu25', 3), ('kinect20', 4)])
def test_align_shoulders(layout, c):
    x = skeletons(layout, c, n=3)
    x[0, 0, :, 8, 2] += 5  # the right shoulder behind, or before
    x[1, 0, :, 8, 2] -= 5
    expected = x.numpy().astype(np.float64)
    for n, m in np.ndindex(3, 2):
        line = (x[n, m, :, 8, :3] - x[n, m, :, 4, :3]).double().numpy()
        sign = -1 if line[:, 2].sum() >= 0 else 1
        for t in range(11):
            angle = sign * math.acos(
                line[t, 0] / (math.sqrt(line[t, 0] ** 2 + line[t, 2] ** 2) + 1e-4)
            )
            sin, cos = math.sin(angle), math.cos(angle)
            turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
            for v in range(JOINTS[layout]):
                expected[n, m, t, v, :3] = turn @ expected[n, m, t, v, :3]
    np.testing.assert_allclose(AlignShoulders(layout=layout).batch(x), expected, atol=2e-5)


@pytest.mark.parametrize('side', [1.0, -1.0])
def test_aligned_line_is_parallel_to_x(side):
    x = skeletons(t=6)
    x[..., 4, :] = torch.tensor([0.0, 1.0, 0.0])
    angle = side * torch.linspace(0.2, 1.4, 6)
    x[..., 8, :] = torch.stack([angle.cos(), 1 + 0 * angle, angle.sin()], dim=-1)
    y = AlignShoulders().batch(x)
    line = y[..., 8, :] - y[..., 4, :]
    torch.testing.assert_close(line, torch.tensor([1.0, 0, 0]).expand_as(line), atol=1e-3, rtol=0)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))  # a rotation
    torch.testing.assert_close(y[..., 1], x[..., 1])  # about the vertical


def test_align_refuses_two_coordinates():
    with pytest.raises(ValueError, match="AlignShoulders needs three coordinates.*'coco17' has 2"):
        AlignShoulders(layout='coco17')


# --- errors ---


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: CenterSkeleton(frame='last'), "frame='last'.*'each', 'first'"),
        (lambda: ResizeClip(length=0), 'length=0'),
        (lambda: ResizeClip(max_frames=0), 'max_frames=0'),
        (lambda: ResizeClip(layout='body'), "'body'.*ntu25"),
        (lambda: ResizeClip()(dict(keypoint=np.zeros((1, 0, 25, 3)))), 'no frames'),
        (lambda: CenterSkeleton()(dict(keypoint=np.zeros((1, 5, 18, 3)))), '25 joints.* have 18'),
    ],
)
def test_bad_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_surplus_frames():
    x = torch.arange(9.0).view(1, 1, 9, 1, 1).expand(1, 1, 9, 25, 3) + 1
    for surplus, first in (('end', 1), ('both', 3)):
        clip = ResizeClip(length=4, max_frames=4, surplus=surplus).batch(x)
        assert clip[0, 0, :, 0, 0].tolist() == [first, first + 1, first + 2, first + 3]
    with pytest.raises(ValueError, match="surplus='middle'; choose from 'end', 'both'"):
        ResizeClip(surplus='middle')
