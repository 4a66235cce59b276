"""Frames without a body and missing joints."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aimclr_mm.datasets import load_annotations
from aimclr_mm.datasets.own_files import FolderReader, ManifestReader, read_recordings
from aimclr_mm.datasets.own_files.cleaning import (
    MAX_GAP,
    Found,
    Report,
    clean,
    clean_batch,
)
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.skeletons import get_layout

NTU25, COCO17 = get_layout('ntu25'), get_layout('coco17')


def person(values, joints=25, dims=3) -> np.ndarray:
    """Return one person (1, T, V, d), all of whose coordinates have the value of the frame."""
    values = np.array(values, dtype=np.float32)
    return values[None, :, None, None] * np.ones((1, len(values), joints, dims), dtype=np.float32)


def run(keypoint, missing='interpolate', layout=NTU25, **fields) -> tuple[dict, Found]:
    annotation = dict(keypoint=keypoint, total_frames=keypoint.shape[1], **fields)
    before = keypoint.copy()
    result = clean(annotation, layout, missing)
    np.testing.assert_array_equal(annotation['keypoint'], before)
    return result


def test_frames_by_hand():
    keypoint = person([0, 0, 1, 0, 0, 4, 6, 0])
    cleaned, found = run(keypoint)
    assert cleaned['keypoint'][0, :, 3, 1].tolist() == [1, 2, 3, 4, 6]
    assert cleaned['total_frames'] == 5 and found == Found(filled=2, ends=3)

    cleaned, found = run(keypoint, 'drop')
    assert cleaned['keypoint'][0, :, 3, 1].tolist() == [1, 4, 6] and found == Found(ends=3, gaps=2)
    cleaned, found = run(keypoint, 'keep')
    assert cleaned['keypoint'] is keypoint and found == Found(kept=5)


@pytest.mark.parametrize('gap', [1, MAX_GAP, MAX_GAP + 1, 100])
def test_long_gaps_are_cut_out(gap):
    cleaned, found = run(person([1, 2] + [0] * gap + [gap + 3, 1]))
    if gap <= MAX_GAP:
        expected = [*range(1, gap + 4), 1]
        assert found == Found(filled=gap)
    else:
        expected = [1, 2, gap + 3, 1]
        assert found == Found(gaps=gap)
    np.testing.assert_allclose(cleaned['keypoint'][0, :, 0, 0], expected, rtol=1e-6)


def test_a_second_person_who_leaves():
    """Short absences are filled, long ones and those at the ends stay; no frame is lost."""
    second = [0, 0, 5, 0, 7] + [0] * 20 + [9] + [0] * 4
    keypoint = np.concatenate([person(range(1, 31)), person(second)])
    cleaned, found = run(keypoint)
    second[3] = 6
    assert cleaned['keypoint'][1, :, 0, 0].tolist() == second
    assert cleaned['keypoint'][0, :, 0, 0].tolist() == list(range(1, 31))
    assert found == Found(joints=25)


def test_joints_are_filled_however_long_they_are_missing():
    keypoint = person(range(1, 101))
    keypoint[0, 10:90, 7] = 0
    keypoint[0, :5, 8] = keypoint[0, 95:, 8] = 0  # held at the ends
    keypoint[0, :, 9] = 0  # never seen
    cleaned, found = run(keypoint)
    joints = cleaned['keypoint'][0, :, :, 0]
    np.testing.assert_allclose(joints[:, 7], np.arange(1, 101), rtol=1e-6)
    assert joints[:5, 8].tolist() == [6] * 5 and joints[95:, 8].tolist() == [95] * 5
    assert not joints[:, 9].any()
    assert found == Found(joints=90, unseen=[NTU25.joints[9]])


def test_scores_tell_missing_joints():
    keypoint, score = person([10, 20, 30, 40], 17, 2), np.full((1, 4, 17), 0.5, dtype=np.float32)
    keypoint[0, 1, 0] = 999  # a guess of the estimator, with score 0
    score[0, 1, 0] = 0
    keypoint[0, 2, 4] = 0  # (0, 0) is not a place in the picture
    cleaned, found = run(keypoint, layout=COCO17, keypoint_score=score)
    np.testing.assert_allclose(cleaned['keypoint'], person([10, 20, 30, 40], 17, 2))
    np.testing.assert_allclose(cleaned['keypoint_score'], 0.5)
    assert found == Found(joints=2)
    _, found = run(keypoint, layout=COCO17, keypoint_score=np.zeros_like(score))
    assert found == Found(joints=1)  # scores that are all zero tell nothing


def test_a_recording_without_a_body():
    keypoint = person([0, 0, 0])
    for missing in ('interpolate', 'drop', 'keep'):
        cleaned, found = run(keypoint, missing)
        assert cleaned['keypoint'].shape == (1, 3, 25, 3) and found == Found(empty=True)


def test_unknown_rule():
    with pytest.raises(ValueError, match="missing='fill'; choose from 'interpolate'"):
        run(person([1]), 'fill')


PATTERNS = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=60)


def patterned(seen, seed) -> np.ndarray:
    """Return two people (2, T, 3, 2): the joints of the first are seen as in the pattern (T, 3)."""
    rng = np.random.default_rng(seed)
    keypoint = rng.uniform(1, 2, size=(2, len(seen), 3, 2)).astype(np.float32)
    keypoint[0] *= np.array(seen)[..., None]
    keypoint[1, ::2] = 0
    keypoint[1, len(seen) // 3 :] = 0
    return keypoint


TRIPLE = get_layout(
    dict(
        joints=('a', 'left_b', 'right_b'),
        parents=('a', 'a', 'a'),
        center='a',
        dims=2,
        shoulders=('left_b', 'right_b'),
    )
)


@given(PATTERNS, st.integers(0, 99))
def test_any_pattern_equals_a_loop_over_joints(seen, seed):
    keypoint = patterned(seen, seed)
    cleaned, found = run(keypoint, layout=TRIPLE)

    there = keypoint.any(axis=3)  # (M, T, V)
    bodies = there.any(axis=2)
    expected = keypoint.astype(np.float64)
    for m, body in enumerate(bodies):
        frames = np.flatnonzero(body)
        present = body.copy()
        for before, after in zip(frames, frames[1:]):
            present[before:after] |= after - before - 1 <= MAX_GAP
        for v in range(3):
            shown = np.flatnonzero(there[m, :, v])
            for t in np.flatnonzero(present) if len(shown) else ():
                expected[m, t, v] = [
                    np.interp(t, shown, keypoint[m, shown, v, axis]) for axis in (0, 1)
                ]
    left = expected.any(axis=(0, 2, 3))
    if not left.any():
        assert found.empty
        return
    np.testing.assert_allclose(cleaned['keypoint'], expected[:, left], rtol=1e-5)
    assert found.filled == (left & ~bodies.any(axis=0)).sum()
    assert found.ends + found.gaps == (~left).sum()
    assert cleaned['total_frames'] == left.sum()


@given(PATTERNS, st.integers(0, 99), st.sampled_from(['interpolate', 'drop', 'keep']))
def test_cleaning_twice_is_cleaning_once(seen, seed, missing):
    once, _ = run(patterned(seen, seed), missing, TRIPLE)
    twice, found = run(once['keypoint'], missing, TRIPLE)
    np.testing.assert_array_equal(twice['keypoint'], once['keypoint'])
    assert found.filled == found.ends == found.gaps == found.joints == 0


@given(PATTERNS, st.integers(0, 99), st.sampled_from(['interpolate', 'drop', 'keep']))
def test_batches_are_cleaned_like_recordings(seen, seed, missing):
    keypoint = patterned(seen, seed)
    cleaned, _ = run(keypoint, missing, TRIPLE)
    frames = cleaned['total_frames']
    batch = clean_batch(torch.from_numpy(np.stack([keypoint, keypoint * 2])), 2, missing)
    assert batch.shape == (2, *keypoint.shape)
    np.testing.assert_allclose(batch[0, :, :frames], cleaned['keypoint'], rtol=1e-6)
    np.testing.assert_allclose(batch[1], batch[0] * 2, rtol=1e-5)
    assert not batch[:, :, frames:].any()


def test_report_by_hand():
    report = Report()
    for found in (
        Found(filled=3, ends=2),
        Found(),
        Found(gaps=16, joints=7).as_dict(),
        Found(unseen=[f'j{i}' for i in range(7)]),
        Found(empty=True),
    ):
        report.add(found)
    assert report.lines() == [
        '2 of 5 recordings had frames without a body: 3 filled by interpolation, 2 dropped at the '
        'ends, 16 cut out of gaps longer than 15 frames',
        '1 of 5 recordings had missing joints: 7 filled by interpolation',
        '1 of 5 recordings have joints that are never seen and stay at zero: j0, j1, j2, j3, j4 '
        'and 2 more',
        '1 of 5 recordings hold no body',
    ]
    kept = Report('keep')
    kept.add(Found(kept=4))
    assert kept.lines() == ['1 of 1 recordings had frames without a body: 4 kept as zeros']
    assert not Report().lines()


@pytest.fixture
def folder(tmp_path):
    """Two recordings: one with gaps, one with a blank cell."""
    source = tmp_path / 'source' / 'wave'
    source.mkdir(parents=True)
    np.save(source / 'gaps.npy', person([0, 1, 0, 3])[0])
    table = [[str((t + v) / 10) for v in range(1, 76)] for t in range(4)]
    table[1][3] = ''
    (source / 'blank.csv').write_text('\n'.join(map(','.join, table)))
    return tmp_path


@pytest.mark.parametrize('missing, frames', [('interpolate', 3), ('drop', 2), ('keep', 4)])
def test_annotation_files_of_own_recordings_are_clean(folder, missing, frames):
    out = str(folder / 'out.pkl')
    reader = FolderReader(list_files([str(folder / 'source')]), missing=missing)
    summary = str(prepare(reader, out, workers=1))
    blank, gaps = load_annotations(out)['annotations']
    assert gaps['total_frames'] == frames and 'cleaned' not in gaps
    filled = missing == 'interpolate'
    np.testing.assert_allclose(blank['keypoint'][0, 1, 1], [0.5, 0.6, 0.7] if filled else 0)
    assert ('1 of 2 recordings had frames without a body: 1 filled' in summary) == filled
    assert ('1 of 2 recordings had missing joints: 1 filled by interp' in summary) == filled


def test_manifests_are_clean_and_reading_keeps_frames(folder):
    path = folder / 'list.csv'
    path.write_text('path\nsource/wave/gaps.npy\nsource/wave/blank.csv\n')
    reader = ManifestReader(list_files([str(path)]))
    gaps, _ = reader.dataset()['annotations']
    assert gaps['keypoint'][0, :, 0, 0].tolist() == [1, 2, 3] and 'cleaned' not in gaps
    for missing, expected in dict(keep=[0, 1, 0, 3], interpolate=[1, 2, 3]).items():
        gaps, blank = read_recordings(path, missing=missing)
        assert gaps['keypoint'][0, :, 0, 0].tolist() == expected
        assert blank['keypoint'][0, 1, 1].any() == (missing == 'interpolate')
