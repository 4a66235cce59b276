"""Each person in one row, whatever the order in the file."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimclr_mm.apis import Windows, read_recordings
from aimclr_mm.datasets.own_files.cleaning import Report
from aimclr_mm.datasets.own_files.people import follow_people, put_in_rows
from aimclr_mm.datasets.own_files.recordings import finish, read_sources
from aimclr_mm.skeletons import get_layout

COCO17 = get_layout('coco17')
RNG = np.random.default_rng(0)


def people(frames=20, count=2, joints=17) -> np.ndarray:
    """Return people (M, T, V, 2) who stand 400 px apart and move by some pixels a frame."""
    pose = RNG.uniform(0, 200, size=(count, 1, joints, 2))
    steps = RNG.normal(0, 2, size=(count, frames, 1, 2)).cumsum(axis=1)
    offset = 100 + 400 * np.arange(count)[:, None, None, None]
    return (pose + steps + offset).astype(np.float32)


ORDERS = st.lists(st.permutations(range(3)), min_size=1, max_size=30)


@given(ORDERS, st.integers(0, 2**31), st.floats(0, 0.4))
def test_any_order_of_people(orders, seed, missing):
    """Everybody stays in the row of the first frame; people may be missed in between."""
    rng = np.random.default_rng(seed)
    clean = people(len(orders), 3)
    absent = rng.random((3, len(orders))) < missing
    absent[:, 0] = False
    clean[absent] = np.nan
    places = np.array([[0, 1, 2], *orders[1:]]).T  # (M, T): place of each person in the file
    given_order = np.empty_like(clean)
    np.put_along_axis(given_order, places[..., None, None], clean, axis=0)

    found = put_in_rows(dict(keypoint=given_order, total_frames=len(orders)))
    np.testing.assert_array_equal(found['keypoint'], clean)


@given(ORDERS, st.integers(0, 2**31))
def test_track_ids_count_more_than_places(orders, seed):
    """People who jump anywhere are told apart by their ids."""
    rng = np.random.default_rng(seed)
    clean = rng.uniform(1, 1000, size=(3, len(orders), 17, 2)).astype(np.float32)
    places = np.array([[0, 1, 2], *orders[1:]]).T
    given_order = np.empty_like(clean)
    np.put_along_axis(given_order, places[..., None, None], clean, axis=0)
    ids = np.empty(places.shape, dtype=int)
    np.put_along_axis(ids, places, np.array([[5], [0], [77]]).repeat(len(orders), axis=1), axis=0)

    found = put_in_rows(dict(keypoint=given_order, track_ids=ids))
    np.testing.assert_array_equal(found['keypoint'], clean)
    assert (found['track_ids'] == [[5], [0], [77]]).all()


def test_rows_by_hand():
    """One joint on a line: A at 10, B at 90; they swap, A leaves, B moves up, A comes back."""
    a, b = np.nan, 90.0
    rows = np.array([[10, 91, 12, b, 14], [90, 11, b, a, b]], dtype=np.float32)
    keypoint = np.stack([rows, rows + 1], axis=-1)[:, :, None]  # (2, 5, 1, 2)
    assert follow_people(keypoint).T.tolist() == [[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]]
    found = put_in_rows(dict(keypoint=keypoint, keypoint_score=rows[..., None]))
    np.testing.assert_array_equal(found['keypoint'][0, :, 0, 0], [10, 11, 12, np.nan, 14])
    np.testing.assert_array_equal(found['keypoint_score'][1, :, 0], [90, 91, 90, 90, 90])
    assert found['reordered'] == 2


def test_people_who_stay_in_their_rows_are_not_touched():
    fields = dict(keypoint=people())
    assert put_in_rows(fields) is fields
    one = dict(keypoint=people(count=1))
    assert put_in_rows(one) is one
    close = people(30)
    close[1] = close[0] + RNG.normal(0, 1, close[0].shape)  # they embrace
    assert 'reordered' not in put_in_rows(dict(keypoint=close))


@pytest.fixture
def swapped(tmp_path):
    """Write results of mmpose in which two people swap places in every other frame."""
    clean = people(12)
    frames = [
        dict(
            frame_id=t,
            instances=[
                dict(keypoints=clean[m, t].tolist(), keypoint_scores=[0.9] * 17)
                for m in ((0, 1), (1, 0))[t % 2]
            ],
        )
        for t in range(12)
    ]
    (tmp_path / 'a.json').write_text(json.dumps(dict(instance_info=frames)))
    return tmp_path / 'a.json', clean


def test_files_are_put_in_order_and_it_is_said(swapped):
    path, clean = swapped
    (recording,) = read_recordings(path, 'coco17')
    np.testing.assert_allclose(recording['keypoint'], clean, rtol=1e-6)
    assert 'reordered' not in recording and 'track_ids' not in recording

    report = Report()
    finish(read_sources(path, COCO17), COCO17, 'interpolate', 'm', report)
    text = '1 of 1 recordings had people who change places: 6 frames put in order, by track ids'
    assert report.lines()[0].startswith(text)
    pieces = Windows(4, 4, fps=1).cut(read_sources(path, COCO17))
    assert [piece.get('reordered', 0) for piece in pieces] == [6, 0, 0]
