"""Export of raw sequences to prepared folders; the round trip is in test_released.py."""

import pickle

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.datasets.readers.released_export import export


def raw(name: str, frames: int, people: int = 1, label: int | None = 4) -> dict:
    """Return a body that moves evenly along x while a hand rises; the shoulders are oblique."""
    base = np.random.default_rng(1).normal(size=(25, 3))
    base[4], base[8] = (-0.3, 0.4, 2.0), (0.3, 0.4, 2.8)
    keypoint = np.tile(base, (people, frames, 1, 1))
    keypoint[..., 0] += np.arange(frames)[:, None] * 0.1
    keypoint[:, :, 7, 1] += np.arange(frames) * 0.01
    result = dict(frame_dir=name, keypoint=keypoint.astype(np.float32), total_frames=frames)
    return result if label is None else dict(result, label=label)


@pytest.fixture
def write(tmp_path):
    """Write an annotation file of raw sequences and return its path."""

    def writer(*annotations, split=None, **more) -> str:
        names = [a['frame_dir'] for a in annotations]
        write_pickle(
            dict(split=split or dict(xsub_train=names), annotations=list(annotations), **more),
            str(tmp_path / 'raw.pkl'),
        )
        return str(tmp_path / 'raw.pkl')

    return writer


def test_raw_sequences_are_centered_resized_and_turned(write, tmp_path):
    path = write(
        raw('a', 20),
        raw('b', 75, people=3),
        split=dict(xsub_train=['b', 'a'], xset_val=['a'], test1=['b']),
    )
    assert export(path, str(tmp_path / 'out')) == dict(xsub_train=2, xset_val=1)
    train, val = (
        np.load(tmp_path / 'out' / name)
        for name in ('xsub/train_position.npy', 'xset/val_position.npy')
    )
    assert train.shape == (2, 3, 50, 25, 2) and train.dtype == np.float32
    for row, frames in ((0, 75), (1, 20)):
        time = np.clip((np.arange(50) + 0.5) * frames / 50 - 0.5, 0, frames - 1)
        body = np.tile(raw('', 1)['keypoint'][0].astype(np.float64), (50, 1, 1))
        body -= body[:, 20:21]
        body[:, 7, 1] += time * 0.01
        cos = 0.6 / (1.0 + 1e-4)  # the shoulders are (0.6, 0, 0.8) apart
        sin = -np.sqrt(1 - cos**2)
        x, y, z = np.moveaxis(body, -1, 0)
        expected = np.stack([cos * x - sin * z, y, sin * x + cos * z])
        np.testing.assert_allclose(train[row, ..., 0], expected, atol=1e-5)
    assert (train[0, ..., 1] == train[0, ..., 0]).all() and not train[1, ..., 1].any()
    assert val.tobytes() == train[1:].tobytes()
    assert pickle.loads((tmp_path / 'out/xsub/train_label.pkl').read_bytes()) == (
        ['b.skeleton', 'a.skeleton'],
        [4, 4],
    )


def test_half_precision_and_another_pipeline(write, tmp_path):
    annotation = raw('a', 8)
    annotation['keypoint'] = annotation['keypoint'].astype(np.float16)
    export(write(annotation), str(tmp_path / 'out'), pipeline=[])
    positions = np.load(tmp_path / 'out/xsub/train_position.npy')
    assert positions.dtype == np.float32 and positions[0, 2, 5, 8, 0] == np.float32(np.float16(2.8))


@pytest.mark.parametrize(
    'annotations, more, message',
    [
        (
            [raw('a', 9), raw('b', 9, label=None)],
            {},
            "1 of 2 sequences of split 'xsub_train' have no label",
        ),
        ([raw('a', 9), raw('a', 9)], {}, '2 sequences with 1 different names'),
        (
            [raw('a', 9)],
            dict(split=dict(xsub_val=['a', 'x'])),
            "'xsub_val' has 2 names, of which 1 have no sequence",
        ),
        ([raw('a', 9)], dict(split=dict(xsub_val=[])), "'xsub_val' has 0 names"),
        (
            [raw('a', 9)],
            dict(split={'train1': ['a'], '../b_train': ['a']}),
            'no splits of a benchmark',
        ),
        ([raw('a', 9)], dict(metainfo=dict(layout='kinect20')), "layout 'kinect20'"),
        ([dict(raw('a', 9), keypoint=np.ones((1, 9, 17, 3)))], {}, '17 joints'),
        ([dict(raw('a', 9), keypoint=np.ones((1, 9, 25, 2)))], {}, '2 coordinates'),
        (
            [raw('a', 9), dict(raw('b', 9), keypoint=np.full((1, 9, 25, 3), np.nan))],
            {},
            "'b' has .* not finite",
        ),
        (
            [raw('a', 9), raw('b', 8)],
            dict(metainfo=dict(preprocessed=True)),
            r"'b' has shape \(3, 8, 25, 2\)",
        ),
    ],
)
def test_export_refuses_and_leaves_nothing_behind(write, tmp_path, annotations, more, message):
    with pytest.raises(ValueError, match=message):
        export(write(*annotations, **more), str(tmp_path / 'out'))
    assert [path.name for path in tmp_path.iterdir()] == ['raw.pkl']


def test_export_overwrites_nothing(write, tmp_path):
    path, out = write(raw('a', 9)), tmp_path / 'out'
    out.mkdir()
    (tmp_path / 'out.partial').mkdir()
    (tmp_path / 'out.partial' / 'left').write_text('of a run that was killed')
    export(path, f'{out}/')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['out', 'raw.pkl']
    assert sorted(p.name for p in out.rglob('*.*')) == ['train_label.pkl', 'train_position.npy']
    for target in (out, path):
        with pytest.raises(ValueError, match='is not an empty folder'):
            export(path, str(target))
