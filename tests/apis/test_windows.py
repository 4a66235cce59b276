"""Windows of long recordings, and segments merged from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimclr_mm.apis.windows import Windows, merge, overlap, split_name, window_name

SIZES = st.integers(1, 40), st.integers(1, 40), st.integers(1, 200)


@given(*SIZES)
def test_windows_hold_every_frame_and_have_equal_lengths(length, step, total):
    windows = Windows(length, min(step, length), fps=1)
    starts = windows.starts(total)
    assert starts == sorted(set(starts)) and starts[0] == 0
    held = {frame for start in starts for frame in range(start, min(start + length, total))}
    assert held == set(range(total))
    assert starts[-1] + length == max(total, length)
    assert all(b - a == windows.step for a, b in zip(starts, starts[1:-1]))


def test_windows_are_cut_by_hand():
    keypoint = np.arange(1, 8, dtype=np.float32).reshape(1, 7, 1, 1) * np.ones((2, 7, 3, 3))
    keypoint[:, 2:4] = 0  # nobody in two frames
    recording = dict(frame_dir='a.npy', keypoint=keypoint, keypoint_score=keypoint[..., 0])
    pieces = Windows(1.0, 0.5, fps=4).cut([dict(recording, total_frames=7, label='x')])
    assert [p['frame_dir'] for p in pieces] == [
        *('a.npy@0.000-1.000', 'a.npy@0.500-1.500', 'a.npy@0.750-1.750')
    ]
    assert [p['keypoint'][0, :, 0, 0].tolist() for p in pieces] == [
        *([1, 2, 0, 0], [0, 0, 5, 6], [0, 5, 6, 7])
    ]
    for piece in pieces:
        assert piece['total_frames'] == 4 and piece['label'] == 'x'
        np.testing.assert_array_equal(piece['keypoint_score'], piece['keypoint'][..., 0])
    names = [p['frame_dir'] for p in Windows(0.5, 0.5, fps=4).cut([recording])]
    assert names == ['a.npy@0.000-0.500', 'a.npy@1.000-1.500', 'a.npy@1.250-1.750']


@pytest.mark.parametrize(
    'arguments, message',
    [
        ((0, 1), 'a window of 0 s'),
        ((1, 0), 'a stride of 0 s'),
        ((1, 1.5), 'at most the window of 1 s'),
        ((1, 1, 0), 'at 0 frames per second'),
        ((float('nan'), 1), 'a window of nan s'),
    ],
)
def test_windows_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Windows(*arguments)


def test_names_of_windows():
    assert split_name(window_name('x@y.npy', 1.5, 20)) == ('x@y.npy', 1.5, 20.0)
    assert split_name('x@y.npy') == ('x@y.npy', None, None)
    assert overlap('a@0.000-1.000', 'a@0.500-1.500')
    assert not overlap('a@0.000-1.000', 'a@1.000-2.000')
    assert not overlap('a@0.000-1.000', 'b@0.000-1.000')
    assert overlap('a', 'a') and not overlap('a', 'b')


def test_segments_by_hand():
    # 0-2 x, 1-3 y, 5-7 y: at 1-2 the mean is (0.5, 0.5 + 0.1) / 2, nobody at 3-5
    scores = np.array([[0.5, 0.1], [0.0, 0.5], [0.2, 0.8]])
    segments = merge([0, 1, 5], [2, 3, 7], scores)
    assert [(start, end) for start, end, _ in segments] == [(0, 1), (1, 3), (5, 7)]
    means = [mean for _, _, mean in segments]
    np.testing.assert_allclose(means, [[0.5, 0.1], [0.125, 0.4], [0.2, 0.8]])


@given(*SIZES, st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_segments_equal_a_vote_of_each_frame(length, step, total, seed, missing):
    rng = np.random.default_rng(seed)
    windows = Windows(length, min(step, length), fps=1)
    starts = [s for s in windows.starts(total) if rng.random() > missing] or [0]
    ends = [min(start + length, total) for start in starts]
    scores = rng.random((len(starts), 3)).round(2) + np.arange(3) * 1e-4  # no ties
    expected = []  # the class of each frame, -1 without a window
    for frame in range(total):
        held = [row for row, s, e in zip(scores, starts, ends) if s <= frame < e]
        expected.append(int(np.mean(held, axis=0).argmax()) if held else -1)

    found = [-1] * total
    segments = merge(starts, ends, scores)
    for start, end, mean in segments:
        found[int(start) : int(end)] = [int(mean.argmax())] * int(end - start)
    differ = [i for i in range(total) if found[i] != expected[i]]
    # within a segment every frame has the same class; the mean may favor another one
    assert all((found[i] < 0) == (expected[i] < 0) for i in differ)
    bounds = {int(start) for start, _, _ in segments} | {int(end) for _, end, _ in segments}
    for i in range(1, total):
        assert (i in bounds) == (expected[i] != expected[i - 1]), i
