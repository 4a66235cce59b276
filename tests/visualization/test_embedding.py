"""Choice of classes, NMI against its formula, projection, picture, and tools/analyze.py tsne."""

import json
import sys
import types
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from aimclr_mm.apis import cli
from aimclr_mm.datasets import write_pickle
from aimclr_mm.evaluation import FeatureSet, fuse
from aimclr_mm.visualization import embedding
from aimclr_mm.visualization.figures import save_figure
from tests.runs import call_tool

NAMES = ['wave', 'clap', 'throw', 'kick', 'sit down', 'stand up']


def clustered(clusters, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """Return features (N, 8) around one direction per cluster, of very different lengths."""
    rng = np.random.default_rng(seed)
    features = np.eye(8)[clusters] + noise * rng.normal(size=(len(clusters), 8))
    return (features * 10 ** rng.uniform(-2, 2, (len(clusters), 1))).astype(np.float32)


def feature_set(classes: int = 6, each: int = 8, seed: int = 0) -> FeatureSet:
    """Return noisy classes; the first half is the gallery."""
    labels = np.arange(classes * each * 2) % classes
    return FeatureSet(
        clustered(labels, 0.4, seed),
        labels,
        np.arange(len(labels)) < classes * each,
        np.array([f'sequence{i}' for i in range(len(labels))]),
    )


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Run tools/analyze.py tsne in a folder of its own that holds features.npz."""
    monkeypatch.chdir(tmp_path)
    feature_set().save('features.npz')
    return lambda *arguments: cli.run(lambda: call_tool('analyze.py', 'tsne', *arguments))


# NMI


def mutual_information(a, b) -> float:
    """Return NMI from the contingency table: I(A; B) divided by the mean of H(A) and H(B)."""
    counts = [[np.sum((a == i) & (b == j)) for j in np.unique(b)] for i in np.unique(a)]
    table = np.array(counts) / len(a)
    rows, columns = table.sum(1), table.sum(0)
    information = sum(
        p * np.log(p / (rows[i] * columns[j])) for (i, j), p in np.ndenumerate(table) if p
    )
    entropies = -sum(p * np.log(p) for p in (*rows, *columns))
    return 2 * information / entropies


@pytest.mark.parametrize(
    'labels, clusters',
    [
        ('000111222', '001112222'),
        ('0000111122223333', '0001110122223333'),
        ('000000111222', '012012012012'),
        ('0011', '0101'),
    ],
)
def test_nmi_equals_the_formula(labels, clusters):
    labels, clusters = (np.array(list(text), int).repeat(6) for text in (labels, clusters))
    expected = mutual_information(labels, clusters)
    assert embedding.nmi(clustered(clusters), labels, 0) == pytest.approx(expected, abs=1e-6)


def test_nmi_of_perfect_and_of_random_clusters():
    labels = np.arange(120) % 5
    assert embedding.nmi(clustered(labels), labels, 0) == pytest.approx(1)
    assert embedding.nmi(clustered(labels), np.random.default_rng(0).permutation(labels), 0) < 0.1


def test_nmi_needs_two_classes():
    with pytest.raises(ValueError, match='at least two classes'):
        embedding.nmi(np.ones((5, 3)), np.zeros(5), 0)


# classes


def test_classes_depend_on_the_seed_and_the_classes_only():
    labels = np.arange(600) % 60
    chosen = embedding.choose_classes(labels, 10, 0)
    assert chosen.tolist() == [2, 11, 22, 26, 28, 34, 35, 40, 58, 59]  # RandomState is frozen
    assert np.array_equal(
        embedding.choose_classes(np.random.default_rng(1).permutation(labels)[:500], 10, 0), chosen
    )
    assert len(set(chosen)) == 10 and np.array_equal(chosen, np.sort(chosen))
    assert set(embedding.choose_classes(labels, 4, 0)) < set(chosen)
    assert len({tuple(embedding.choose_classes(labels, 10, seed)) for seed in range(5)}) == 5


def test_all_classes_where_there_are_fewer():
    assert embedding.choose_classes(np.array([5, 3, 3, 9]), 10, 0).tolist() == [3, 5, 9]
    with pytest.raises(ValueError, match='at least 1'):
        embedding.choose_classes(np.arange(3), 0, 0)


# projection and picture


def test_tsne_keeps_neighborhoods_is_reproducible_and_ignores_lengths():
    labels = np.arange(60) % 3
    features = clustered(labels)
    places = embedding.project(features, 'tsne', 0)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    assert places.shape == (60, 2) and np.array_equal(labels[distances.argmin(1)], labels)
    longer = features * (2.0 ** (np.arange(60) % 7))[:, None]
    np.testing.assert_array_equal(embedding.project(longer.astype(np.float32), 'tsne', 0), places)


@pytest.mark.parametrize('features', [np.ones((20, 4)), np.eye(3), np.arange(9.0)[:, None]])
def test_what_cannot_be_drawn_is_refused(features):
    with pytest.raises(ValueError, match='cannot be drawn'):
        embedding.project(features)


def test_umap_gets_the_fixed_settings(monkeypatch):
    seen = {}

    class UMAP:
        def __init__(self, **settings):
            seen.update(settings)

        def fit_transform(self, features):
            return features[:, :2]

    monkeypatch.setitem(sys.modules, 'umap', types.SimpleNamespace(UMAP=UMAP))
    places = embedding.project(clustered(np.arange(12) % 3), 'umap', 5)
    assert seen == dict(
        metric='cosine', n_neighbors=11, min_dist=0.1, random_state=5
    ) and places.shape == (12, 2)


def test_umap_of_the_library():
    pytest.importorskip('umap', reason='umap-learn is not installed')
    labels = np.arange(60) % 3
    places = embedding.project(clustered(labels), 'umap', 0)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    assert np.array_equal(labels[distances.argmin(1)], labels)


def test_every_class_has_its_points_and_its_name_in_the_legend():
    labels = np.arange(240) % 60
    places = np.random.default_rng(0).normal(size=(240, 2))
    names = {label: f'action {label}' for label in range(60)}
    (axis,) = embedding.draw_embedding(places, labels, names, 'title').axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(names.values())
    looks = set()
    for label, points in enumerate(axis.collections):
        np.testing.assert_array_equal(points.get_offsets(), places[labels == label])
        looks.add((tuple(points.get_facecolor()[0]), str(points.get_paths()[0].vertices)))
    assert len(looks) == 60


def test_a_long_name_is_not_cut_off(tmp_path):
    places, labels = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2
    widths = []
    for name in ('short', 'a much longer name ' * 4):
        save_figure(
            embedding.draw_embedding(places, labels, {0: name, 1: 'b'}, ''), str(tmp_path / 'a.png')
        )
        image = matplotlib.image.imread(tmp_path / 'a.png')[..., :3]
        widths.append(image.shape[1])
        assert (image[:, -3:] == 1).all() and image.std() > 0.02
    assert widths[1] > widths[0] + 600


# the command


def test_command_writes_picture_and_figures(tool, capsys):
    tool('features.npz', '--classes', 4, '--out', 'figures/embedding.png')
    result = json.loads(Path('figures/embedding.json').read_text())
    ids = [c['id'] for c in result['classes']]
    saved = feature_set()
    features, labels = saved.features[~saved.gallery], saved.labels[~saved.gallery]
    assert ids == embedding.choose_classes(labels, 4, 0).tolist()
    assert result['classes'][0]['name'] == f'class {ids[0]}'
    assert [result[key] for key in ('sequences', 'sequences_all', 'classes_all')] == [32, 48, 6]

    drawn = np.isin(labels, ids)
    assert result['nmi'] == pytest.approx(embedding.nmi(features[drawn], labels[drawn], 0))
    assert result['nmi_all'] == pytest.approx(embedding.nmi(features, labels, 0))
    assert 0 < result['nmi_all'] < 1
    assert result['settings']['files'] == ['features.npz']
    assert result['settings']['perplexity'] == pytest.approx(31 / 3)

    assert min(matplotlib.image.imread('figures/embedding.png').shape[:2]) > 600
    output = capsys.readouterr().out
    assert f'{result["nmi"]:.4f}' in output and ', '.join(map(str, ids)) in output


def test_command_with_three_streams_weighs_them_as_the_paper(tool):
    sets = [feature_set(seed=seed) for seed in range(3)]
    for name, one in zip('abc', sets):
        one.save(f'{name}.npz')
    tool('a.npz', 'b.npz', 'c.npz', '--out', 'embedding.svg')
    result = json.loads(Path('embedding.json').read_text())
    joined = fuse(sets, [0.6, 0.6, 0.4])
    queries = ~joined.gallery
    expected = embedding.nmi(joined.features[queries], joined.labels[queries], 0)
    assert result['nmi_all'] == pytest.approx(expected)
    assert result['settings']['weights'] == [0.6, 0.6, 0.4]
    assert '<svg' in Path('embedding.svg').read_text()


def test_command_with_given_classes_and_their_names(tool, capsys):
    write_pickle(dict(metainfo=dict(classes=NAMES), split={}, annotations=[]), 'data.pkl')
    for chosen in (['--class-ids', 4, 1, 1], ['--class-names', 'sit down', 'clap']):
        tool('features.npz', *chosen, '--ann-file', 'data.pkl', '--out', 'embedding.pdf')
        result = json.loads(Path('embedding.json').read_text())
        assert result['classes'] == [dict(id=1, name='clap'), dict(id=4, name='sit down')]
        assert Path('embedding.pdf').read_bytes()[:4] == b'%PDF'
    assert '1 (clap), 4 (sit down)' in capsys.readouterr().out


def test_command_says_that_there_are_fewer_classes(tool, capsys):
    tool('features.npz', '--out', 'a.png')
    assert '--classes 10: the data have 6; all are drawn' in capsys.readouterr().out
    result = json.loads(Path('a.json').read_text())
    assert len(result['classes']) == 6 and result['nmi'] == result['nmi_all']


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['gone.npz'], "'gone.npz' does not exist"),
        (['damaged.npz'], "'damaged.npz' cannot be read"),
        (['gallery.npz'], 'holds no query sequences'),
        (
            ['features.npz', '--class-ids', '3', '77'],
            'no sequence is of class 77; there are 0, 1, 2, 3, 4, 5',
        ),
        (['features.npz', '--class-ids', '3'], 'at least two classes'),
        (['features.npz', '--classes', '0'], 'at least 1'),
        (['features.npz', '--out', 'a.jpg'], "'a.jpg': a picture is a .png, .svg or .pdf"),
        (['features.npz', '--weights', '1', '2'], 'one for each of 1 streams'),
        (
            ['features.npz', '--ann-file', 'nameless.pkl'],
            "'nameless.pkl' contains no class names",
        ),
        (
            ['features.npz', '--ann-file', 'short.pkl'],
            'names 2 classes, but a sequence is of class 5',
        ),
        (
            ['features.npz', '--ann-file', 'short.pkl', '--class-names', 'run'],
            "has no class 'run'; it has wave, clap",
        ),
        (['features.npz', '--method', 'umap'], 'pip install umap-learn'),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tool, monkeypatch, arguments, message):
    monkeypatch.setitem(sys.modules, 'umap', None)
    Path('damaged.npz').write_bytes(Path('features.npz').read_bytes()[:900])
    saved = feature_set()
    FeatureSet(saved.features, saved.labels, np.ones_like(saved.gallery), saved.names).save(
        'gallery.npz'
    )
    write_pickle(dict(split={}, annotations=[]), 'nameless.pkl')
    write_pickle(dict(metainfo=dict(classes=NAMES[:2]), split={}, annotations=[]), 'short.pkl')
    before = sorted(Path().iterdir())
    with pytest.raises(SystemExit) as exit:
        tool(*arguments)
    error = str(exit.value)
    assert error.startswith('error: ') and message in error and '\n' not in error
    assert sorted(Path().iterdir()) == before
