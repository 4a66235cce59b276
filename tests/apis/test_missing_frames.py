"""Own recordings with frames without a body, and longer than 300 frames: what becomes of them."""

import numpy as np
import pytest

from aimclr_mm.apis import (
    Windows,
    fit_classifier,
    load_encoder,
    predict_stream,
    read_recordings,
)
from aimclr_mm.datasets.own_files.cleaning import Report
from aimclr_mm.datasets.own_files.samples import write_samples
from tests.docs_runner import blocks
from tests.runs import ROOT

NWUCLA = ROOT / 'data/nwucla/nwucla_3d.pkl'


@pytest.fixture(scope='module')
def encoder():
    return load_encoder('generated-joint', device='cpu')


@pytest.fixture(scope='module')
def moves(tmp_path_factory):
    """Return two recordings (M, T, 25, 3) of different actions, without missing frames."""
    folder = tmp_path_factory.mktemp('moves')
    write_samples(str(folder), 'kinect', subjects=1, cameras=1)
    names = [str(folder / action / 'C001P001R001.npy') for action in ('wave', 'kick')]
    wave, kick = (r['keypoint'] for r in read_recordings(names, missing='interpolate'))
    return wave, kick


@pytest.fixture
def said(monkeypatch):
    """Return the list of what is said in a test."""
    lines: list[str] = []
    monkeypatch.setattr(Report, 'log', lambda report: lines.extend(report.lines()))
    return lines


def third(x: np.ndarray) -> np.ndarray:
    """Empty every third frame of (M, T, V, C)."""
    x = x.copy()
    x[:, 1::3] = 0
    return x


def front(x: np.ndarray) -> np.ndarray:
    """Put 20 empty frames in front."""
    return np.concatenate([np.zeros_like(x[:, :1]).repeat(20, axis=1), x], axis=1)


def cosine(a, b) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_empty_frames_in_front_and_at_the_end_change_nothing(encoder, moves):
    a, b = moves
    zeros = np.zeros_like(a)
    padded = [
        np.concatenate([zeros[:, : len(x[0])], x, zeros], axis=1) for x in (a, b[:, : len(a[0])])
    ]
    expected = encoder.embed([a, b[:, : len(a[0])]])
    found = encoder.embed(padded)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert cosine(*found) < 0.99


def test_every_third_frame_empty_is_close_to_the_full_clip(encoder, moves):
    (full, other), (gaps,) = encoder.embed(list(moves)), encoder.embed([third(moves[0])])
    assert cosine(full, gaps) > 0.98 > cosine(full, other)
    keep = load_encoder('generated-joint', device='cpu', missing='keep')
    assert cosine(full, keep.embed(third(moves[0]))[0]) < cosine(full, gaps)


def test_nan_is_a_missing_joint(encoder, moves):
    zeros, nans = moves[0].copy(), moves[0].copy()
    zeros[0, 5:9, 7], nans[0, 5:9, 7, 1] = 0, np.nan
    found = encoder.embed([zeros, nans])
    np.testing.assert_array_equal(found[0], found[1])


def test_the_whole_of_a_long_recording_counts(encoder, moves):
    """Three recordings that agree in their first 300 frames are three recordings."""
    a, b = (np.tile(x, (1, 12, 1, 1))[:, :300] for x in moves)
    long = [np.concatenate(parts, axis=1) for parts in ((a, a), (a, b), (a, b, b, b))]
    first, *found = encoder.embed([a, *long])
    similar = [cosine(first, row) for row in found]
    assert similar[0] > similar[1] + 0.005 and similar[1] > similar[2]
    paper = load_encoder(str(ROOT / 'configs/aimclr_ntu60_xsub_joint.py'), 'random', 'cpu')
    one, *others = paper.embed(long)
    assert all(np.abs(one - other).max() > 1e-3 for other in others)


def test_what_was_done_is_said_once(encoder, moves, tmp_path, said):
    np.save(tmp_path / 'a.npy', front(third(moves[0])))
    np.save(tmp_path / 'b.npy', moves[1])
    encoder.embed_recordings([tmp_path / 'a.npy', tmp_path / 'b.npy'])
    frames = len(moves[0][0])
    empty, last = len(range(1, frames, 3)), frames % 3 == 2
    assert said == [
        f'1 of 2 recordings had frames without a body: {empty - last} filled by interpolation, '
        f'{20 + last} dropped at the ends'
    ]
    said.clear()
    encoder.embed(moves[1])
    assert not said


def test_streams_windows_and_embed_agree(encoder, moves, tmp_path, said):
    recording = front(third(np.concatenate(moves, axis=1)))
    np.save(tmp_path / 'a.npy', recording)
    windows = Windows(1, 0.5, fps=30)
    by_file = encoder.embed_recordings(tmp_path / 'a.npy', windows=windows)
    pieces = [recording[:, s : s + 30] for s in windows.starts(recording.shape[1])]
    np.testing.assert_allclose(by_file.features, encoder.embed(pieces), rtol=1e-4, atol=1e-5)

    classifier = fit_classifier(encoder.embed(list(moves) * 2), ['a', 'b'] * 2)
    said.clear()
    stream = predict_stream(encoder, classifier, np.swapaxes(recording, 0, 1), windows)
    found = np.array([prediction.probabilities for prediction in stream])
    expected = classifier.probabilities(by_file.features)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    (line,) = said
    assert line.startswith('10 of 10 windows had frames without a body')


def test_another_rule_is_another_fingerprint(encoder):
    keep = load_encoder('generated-joint', device='cpu', missing='keep')
    assert keep.fingerprint != encoder.fingerprint
    with pytest.raises(ValueError, match="missing='fill'; choose from 'interpolate', 'drop'"):
        load_encoder('generated-joint', missing='fill')


@pytest.mark.slow
@pytest.mark.skipif(not NWUCLA.is_file(), reason='NW-UCLA is not prepared in data/nwucla')
def test_neighbors_of_real_recordings_with_missing_frames(monkeypatch, capsys):
    """docs/encoders.md: with every third frame emptied, KNN falls by less than 2 points."""
    monkeypatch.chdir(ROOT)
    (block,) = [b for b in blocks(ROOT / 'docs/encoders.md') if 'def third' in b.text]
    exec(compile(block.text, 'docs/encoders.md', 'exec'), {})
    found = float(capsys.readouterr().out.splitlines()[-1].removesuffix(' %'))
    assert found == pytest.approx(84.5, abs=0.5) and found > 84.7 - 2  # 84.7 as recorded
