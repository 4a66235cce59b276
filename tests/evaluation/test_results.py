"""Files of features and scores: round trips, damaged and hostile files; accuracy."""

import io
import os
import random
import warnings
import zipfile

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from aimclr_mm.evaluation import FeatureSet, ScoreSet
from aimclr_mm.evaluation.fusion import fuse_files
from tests.canary import Payload

from .helpers import save_all, stream_features, stream_scores


@pytest.mark.parametrize(
    'one',
    [
        stream_features(),
        stream_scores(),
        stream_features(1),
        ScoreSet(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), np.zeros(0, 'U1')),
    ],
    ids=['features', 'scores', 'one', 'none'],
)
def test_round_trip(tmp_path, one):
    path = str(tmp_path / 'new' / 'folder' / 'file.npz')
    one.save(path)
    read = type(one).load(path)
    for name, value in vars(one).items():
        other = getattr(read, name)
        assert other.dtype == value.dtype and np.array_equal(other, value), name
    assert os.listdir(os.path.dirname(path)) == ['file.npz']  # no temporary file is left
    kinds = {kind for kind in (FeatureSet, ScoreSet) if kind.is_file(path)}
    assert kinds == {type(one)}


def test_names_of_any_language(tmp_path):
    one = stream_scores(3)
    one.names = np.array(['a/b c', 'é動作', ''])
    assert ScoreSet.load(save_all(tmp_path, [one])[0]).names.tolist() == one.names.tolist()


def test_arrays_of_different_lengths():
    with pytest.raises(ValueError, match="different lengths.*'labels': 2"):
        ScoreSet(np.zeros((3, 2)), np.zeros(2), np.array(['a'] * 3))


def test_missing_file(tmp_path):
    for kind in (FeatureSet, ScoreSet):
        assert not kind.is_file(str(tmp_path / 'gone.npz'))
        with pytest.raises(FileNotFoundError, match='gone.npz.*--dump'):
            kind.load(str(tmp_path / 'gone.npz'))
        with pytest.raises(FileNotFoundError, match='does not exist'):
            kind.load(str(tmp_path))


def npz(**arrays) -> bytes:
    """Return a .npz file, with pickled objects if there are any."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array) -> bytes:
    """Return a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


GOOD = dict(
    scores=np.zeros((3, 2), np.float32),
    labels=np.zeros(3, np.int64),
    names=np.array(['a', 'b', 'c']),
)
MALFORMED = {
    'empty': b'',
    'text': b'hello world\n',
    'cut': npz(**GOOD)[:200],
    'zip_only': b'PK\x03\x04' + bytes(50),
    'npy': npy(np.zeros((3, 2))),
    'pickle': b'\x80\x04}\x94.',
    'nothing': npz(),
    'other_arrays': npz(x=np.zeros(3)),
    'one_missing': npz(scores=GOOD['scores'], labels=GOOD['labels']),
    'one_more': npz(**GOOD, extra=np.zeros(1)),
    'vector': npz(**{**GOOD, 'scores': np.zeros(3, np.float32)}),
    'cube': npz(**{**GOOD, 'scores': np.zeros((3, 2, 2), np.float32)}),
    'scalar': npz(**{**GOOD, 'scores': np.float32(1)}),
    'nan': npz(**{**GOOD, 'scores': np.full((3, 2), np.nan)}),
    'infinite': npz(**{**GOOD, 'scores': np.full((3, 2), np.inf)}),
    'text_scores': npz(**{**GOOD, 'scores': np.array([['1', '2']] * 3)}),
    'complex_scores': npz(**{**GOOD, 'scores': np.zeros((3, 2), complex)}),
    'float_labels': npz(**{**GOOD, 'labels': np.zeros(3)}),
    'scalar_labels': npz(**{**GOOD, 'labels': np.int64(1)}),
    'labels_of_two': npz(**{**GOOD, 'labels': np.zeros((3, 2), np.int64)}),
    'few_labels': npz(**{**GOOD, 'labels': np.zeros(2, np.int64)}),
    'names_of_bytes': npz(**{**GOOD, 'names': np.array([b'a', b'b', b'c'])}),
}


@pytest.mark.parametrize('name', MALFORMED)
def test_malformed_file_is_refused_by_name(tmp_path, name):
    path = tmp_path / 'bad.npz'
    path.write_bytes(MALFORMED[name])
    with pytest.raises(ValueError, match='bad.npz'):
        ScoreSet.load(str(path))
    with pytest.raises(ValueError, match='bad.npz'):
        fuse_files([str(path)], [1.0])


@pytest.mark.parametrize(
    'gallery', [np.ones(3, np.int64), np.ones(3, np.uint8), np.ones((3, 1), bool)]
)
def test_gallery_must_be_true_or_false(tmp_path, gallery):
    path = tmp_path / 'bad.npz'
    path.write_bytes(
        npz(
            features=np.zeros((3, 2), np.float32),
            labels=GOOD['labels'],
            gallery=gallery,
            names=GOOD['names'],
        )
    )
    with pytest.raises(ValueError, match='bad.npz.*gallery'):
        FeatureSet.load(str(path))


@pytest.mark.parametrize('field', ['scores', 'labels', 'names'])
def test_pickled_objects_are_refused_and_do_not_run(tmp_path, field):
    mark, path = tmp_path / 'mark', tmp_path / 'evil.npz'
    evil = np.empty(3, dtype=object)
    evil[:] = [Payload(open, str(mark), 'w')] * 3
    path.write_bytes(npz(**{**GOOD, field: evil}))
    with pytest.raises(ValueError, match='evil.npz'):
        ScoreSet.load(str(path))
    with pytest.raises(ValueError, match='evil.npz'):
        fuse_files([str(path)] * 3)
    assert not mark.exists()
    np.load(path, allow_pickle=True)[field]  # the payload works
    assert mark.exists()


@pytest.mark.parametrize('compression', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mutated_files_raise_value_error_or_load(tmp_path, little_memory, compression):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, array in GOOD.items():
            archive.writestr(f'{name}.npy', npy(array))
    good = file.getvalue()
    path = tmp_path / 'mutated.npz'
    path.write_bytes(good)
    assert ScoreSet.load(str(path)).names.tolist() == ['a', 'b', 'c']

    rng = random.Random(1)
    refused, others = 0, {}
    for _ in range(400):
        text = bytearray(good)
        for _ in range(rng.choice((1, 1, 3, 10))):
            text[rng.randrange(len(text))] = rng.randrange(256)
        path.write_bytes(text[: rng.randrange(len(text))] if rng.random() < 0.2 else text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                assert FeatureSet.is_file(str(path)) is False
                ScoreSet.load(str(path))
        except ValueError as error:
            assert 'mutated.npz' in str(error)
            refused += 1
        except Exception as error:  # noqa: BLE001  the test looks for these
            others.setdefault(type(error).__name__, str(error))
    assert not others and refused > 100


def huge(shape: tuple[int, ...]) -> bytes:
    """Return an archive whose scores have a header with a shape but no data."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, array in GOOD.items():
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                head, dict(descr='<f4', fortran_order=False, shape=shape)
            )
            archive.writestr(f'{name}.npy', head.getvalue() if name == 'scores' else npy(array))
    return file.getvalue()


@pytest.mark.parametrize('shape', [(3, 2), (10**6, 10**6), (2**40, 2**40), (-3, 2)])
def test_header_with_a_shape_beyond_the_data(tmp_path, little_memory, shape):
    path = tmp_path / 'huge.npz'
    path.write_bytes(huge(shape))
    with pytest.raises(ValueError, match='huge.npz'):
        ScoreSet.load(str(path))


# --- accuracy ---


@pytest.mark.parametrize('k', [1, 2, 5, 7, 9])
def test_accuracy_equals_scikit_learn(k):
    one = stream_scores(200)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # k at least as large as the number of classes
        expected = top_k_accuracy_score(one.labels, one.scores, k=k, labels=range(7))
    assert one.accuracy(k) == pytest.approx(100 * expected)
    assert k < 7 or one.accuracy(k) == 100


def test_label_without_a_column_is_a_miss():
    one = ScoreSet(np.eye(3, 2), np.array([0, 1, 2]), np.array(['a', 'b', 'c']))
    assert one.accuracy() == pytest.approx(200 / 3) and one.accuracy(5) == pytest.approx(200 / 3)
