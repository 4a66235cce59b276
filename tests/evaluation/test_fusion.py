"""Files of features and scores, and fusion of streams: round trips, hostile files, sums and neighbours by loops."""

import io
import os
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from aimclr_mm.evaluation import FeatureSet, ScoreSet
from aimclr_mm.evaluation.fusion import fuse_files
from tests.datasets.test_datasets import Payload, little_memory  # noqa: F401


def features(n: int = 30, width: int = 5, classes: int = 4, seed: int = 0) -> FeatureSet:
    """Noisy features of a gallery (two thirds) and of queries; labels and names do not depend on the seed."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % classes
    centers = np.random.default_rng(seed + 100).normal(size=(classes, width))
    values = centers[labels] + 1.2 * rng.normal(size=(n, width))
    return FeatureSet(
        (values * rng.uniform(0.1, 9, (n, 1))).astype(np.float32),
        labels.astype(np.int64),
        np.arange(n) % 3 != 0,
        np.array([f's{i}' for i in range(n)]),
    )


def scores(n: int = 40, classes: int = 7, seed: int = 0) -> ScoreSet:
    """Logits; labels and names do not depend on the seed."""
    values = np.random.default_rng(seed).normal(size=(n, classes))
    values[np.arange(n), np.arange(n) % classes] += 0.8
    return ScoreSet(
        values.astype(np.float32), np.arange(n) % classes, np.array([f's{i}' for i in range(n)])
    )


def saved(folder: Path, sets) -> list[str]:
    """Paths of the sets, written there."""
    paths = [str(folder / f'{i}.npz') for i in range(len(sets))]
    for path, one in zip(paths, sets):
        one.save(path)
    return paths


# files


@pytest.mark.parametrize(
    'one',
    [
        features(),
        scores(),
        features(1),
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
    assert os.listdir(os.path.dirname(path)) == ['file.npz']  # nothing half-written beside it
    kinds = {kind for kind in (FeatureSet, ScoreSet) if kind.is_file(path)}
    assert kinds == {type(one)}


def test_names_of_any_language(tmp_path):
    one = scores(3)
    one.names = np.array(['a/b c', 'é動作', ''])
    assert ScoreSet.load(saved(tmp_path, [one])[0]).names.tolist() == one.names.tolist()


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
    """What NumPy writes, objects included."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array) -> bytes:
    """One array without an archive."""
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
    np.load(path, allow_pickle=True)[field]  # the payload is a real one
    assert mark.exists()


@pytest.mark.parametrize('compression', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mutated_files_raise_value_error_or_load(tmp_path, little_memory, compression):  # noqa: F811
    file, path, rng, refused, others = (
        io.BytesIO(),
        tmp_path / 'mutated.npz',
        random.Random(1),
        0,
        {},
    )
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, array in GOOD.items():
            archive.writestr(f'{name}.npy', npy(array))
    good = file.getvalue()
    path.write_bytes(good)
    assert ScoreSet.load(str(path)).names.tolist() == ['a', 'b', 'c']
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
        except Exception as error:  # noqa: BLE001  what the test looks for
            others.setdefault(type(error).__name__, str(error))
    assert not others and refused > 100


def huge(shape: tuple[int, ...]) -> bytes:
    """An archive whose scores claim a shape that the file does not hold."""
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
def test_header_that_promises_too_much(tmp_path, little_memory, shape):  # noqa: F811
    path = tmp_path / 'huge.npz'
    path.write_bytes(huge(shape))
    with pytest.raises(ValueError, match='huge.npz'):
        ScoreSet.load(str(path))


# scores


@pytest.mark.parametrize('weights', [(0.6, 0.6, 0.4), (1, 0, 0), (2.0, 0.1, 3.5)])
def test_fused_logits_equal_a_loop(tmp_path, weights):
    sets = [scores(seed=seed) for seed in range(3)]
    hits = dict.fromkeys((1, 5), 0)
    for i in range(40):
        row = [sum(w * float(s.scores[i, c]) for w, s in zip(weights, sets)) for c in range(7)]
        ranked = sorted(range(7), key=lambda c, row=row: -row[c])
        for k in hits:
            hits[k] += int(sets[0].labels[i]) in ranked[:k]
    expected = {f'fused/top{k}': pytest.approx(100 * hit / 40) for k, hit in hits.items()}
    assert fuse_files(saved(tmp_path, sets), weights) == expected
    if weights == (0.6, 0.6, 0.4):
        assert fuse_files(saved(tmp_path, sets)) == expected  # those of the paper, in its order
        assert fuse_files(saved(tmp_path, sets[::-1])) != expected


@pytest.mark.parametrize('k', [1, 2, 5, 7, 9])
def test_accuracy_equals_scikit_learn(k):
    one = scores(200)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # as many as classes: all are right
        expected = top_k_accuracy_score(one.labels, one.scores, k=k, labels=range(7))
    assert one.accuracy(k) == pytest.approx(100 * expected)
    assert k < 7 or one.accuracy(k) == 100


def test_label_without_a_column_is_a_miss():
    one = ScoreSet(np.eye(3, 2), np.array([0, 1, 2]), np.array(['a', 'b', 'c']))
    assert one.accuracy() == pytest.approx(200 / 3) and one.accuracy(5) == pytest.approx(200 / 3)


# features


@pytest.mark.parametrize('weights', [(0.6, 0.6, 0.4), (0.1, 2.0, 0.0)])
@pytest.mark.parametrize('k', [1, 3])
def test_fused_neighbours_equal_a_loop(tmp_path, weights, k):
    sets = [features(60, width, seed=seed) for seed, width in enumerate((5, 3, 8))]
    gallery, queries = np.flatnonzero(sets[0].gallery), np.flatnonzero(~sets[0].gallery)
    hits = 0
    for q in queries:
        similarity = []
        for b in gallery:
            rows = [(s.features[q].astype(float), s.features[b].astype(float)) for s in sets]
            similarity.append(
                sum(
                    w * (x @ y) / np.linalg.norm(x) / np.linalg.norm(y)
                    for w, (x, y) in zip(weights, rows)
                )
            )
        near = [
            int(sets[0].labels[b]) for _, b in sorted(zip(similarity, gallery), reverse=True)[:k]
        ]
        hits += (
            max(near, key=lambda c, near=near: (near.count(c), -near.index(c))) == sets[0].labels[q]
        )
    metrics = fuse_files(saved(tmp_path, sets), weights, [k])
    assert (
        metrics['fused/knn/top1']
        == metrics[f'fused/knn/top1_k{k}']
        == pytest.approx(100 * hits / len(queries))
    )
    assert 0 < hits < len(queries)


def test_concatenated_streams_have_the_mean_of_the_cosines():
    sets, weights = [features(seed=seed) for seed in range(3)], (0.6, 0.6, 0.4)
    fused, equal = FeatureSet.concat(sets, weights).features, FeatureSet.concat(sets).features
    assert fused.dtype == np.float32 and fused.shape == (30, 15)

    def cosines(x):
        x = x / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
        return x @ x.T

    parts = [cosines(s.features) for s in sets]
    np.testing.assert_allclose(
        cosines(fused), sum(w * p for w, p in zip(weights, parts)) / 1.6, atol=1e-6
    )
    np.testing.assert_allclose(cosines(equal), sum(parts) / 3, atol=1e-6)


def test_feature_of_zeros_stays_finite():
    one = features()
    one.features[4] = 0
    assert np.isfinite(FeatureSet.concat([one, features(seed=1)], [0.5, 0.5]).features).all()


# what does not go together


@pytest.mark.parametrize('make', [scores, features])
@pytest.mark.parametrize('wrong', ['names', 'labels', 'order', 'fewer'])
def test_files_of_other_sequences(tmp_path, make, wrong):
    one, other = make(), make(seed=1)
    if wrong == 'names':
        other.names = np.array([f't{i}' for i in range(len(other.names))])
    elif wrong == 'labels':
        other.labels = (other.labels + 1) % 4
    else:
        rows = slice(None, None, -1) if wrong == 'order' else slice(0, -2)
        other = type(other)(*(value[rows] for value in vars(other).values()))
    with pytest.raises(ValueError, match='file 2 is of other sequences than file 1'):
        fuse_files(saved(tmp_path, [one, other]), [1, 1])


def test_galleries_that_differ(tmp_path):
    one, other = features(), features(seed=1)
    other.gallery = ~other.gallery
    with pytest.raises(ValueError, match='gallery'):
        fuse_files(saved(tmp_path, [one, other]), [1, 1])


def test_scores_of_other_numbers_of_classes(tmp_path):
    with pytest.raises(ValueError, match=r'\(40, 7\), \(40, 9\)'):
        fuse_files(
            saved(
                tmp_path,
                [
                    scores(),
                    ScoreSet(np.zeros((40, 9), np.float32), scores().labels, scores().names),
                ],
            ),
            [1, 1],
        )


@pytest.mark.parametrize('kinds', [(scores, features), (features, scores)])
def test_scores_and_features(tmp_path, kinds):
    with pytest.raises(ValueError, match='1.npz.*wanted are'):
        fuse_files(saved(tmp_path, [kind(30) for kind in kinds]), [1, 1])


@pytest.mark.parametrize(
    'weights', [[1], [1, 1, 1], [1, -1], [0, 0], [1, float('nan')], [float('inf'), 1], []]
)
@pytest.mark.parametrize('make', [scores, features])
def test_weights_that_make_no_sense(tmp_path, make, weights):
    with pytest.raises(ValueError, match='weights'):
        fuse_files(saved(tmp_path, [make(), make(seed=1)]), weights)


@pytest.mark.parametrize('count', [1, 2, 4])
def test_weights_of_the_paper_are_for_three_files(tmp_path, count):
    with pytest.raises(ValueError, match=f'{count} files: give as many --weights'):
        fuse_files(saved(tmp_path, [scores(seed=i) for i in range(count)]))


@pytest.mark.parametrize(
    'k, message', [([0], 'at least 1'), ([], 'at least 1'), ([99], 'k=99.*only 20')]
)
def test_neighbours_that_are_not_there(tmp_path, k, message):
    with pytest.raises(ValueError, match=message):
        fuse_files(saved(tmp_path, [features(), features(seed=1)]), [1, 1], k)
