"""tools/embed.py and tools/prepare_data.py samples: results and error messages."""

import csv

import numpy as np
import pytest

from aimclr_mm.apis import cli, fit_classifier, load_encoder, nearest
from aimclr_mm.evaluation.results import EmbeddingSet
from tests.apis.test_apis import folder, walk  # noqa: F401  a fixture
from tests.runs import call_tool


def rows_of(path: str) -> list[dict]:
    """The rows of a CSV file."""
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture
def tool(folder, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Run a tool in this process, in a folder of recordings; return its output or its error."""
    monkeypatch.chdir(tmp_path)
    for name in ('sit/a', 'sit/b', 'run/a', 'run/b', 'run/c'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f'{name}.npy', walk(8) + (name < 's'))
    (tmp_path / 'text.npy').write_text('no array')
    trained = [str(folder / 'tiny.py'), str(folder / 'tiny.pth')]

    def run(name: str, *arguments: str, encoder: bool = True) -> str:
        words = [*name.split(), *(trained if encoder else []), *arguments]
        try:
            cli.run(lambda: call_tool(*words))
        except SystemExit as error:
            return str(error.code) + capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_a_folder_that_is_given_itself_is_no_label(tool):
    assert 'b.npz: 5 sequences, 6 channels, no labels' in tool(
        'embed.py embed', 'sit', 'run', '--out', 'b.npz'
    )


def test_table_and_picture(tool, folder, tmp_path):  # noqa: F811
    (tmp_path / 'text.npy').unlink()
    assert 'gallery.npz: 5 sequences, 6 channels, 2 labels (run, sit)' in tool(
        'embed.py embed', '.', '--out', 'gallery.npz'
    )
    gallery = EmbeddingSet.load('gallery.npz')
    printed = tool(
        'embed.py search',
        './sit/a.npy',
        '--gallery',
        'gallery.npz',
        '-k',
        '3',
        '--out',
        'n.csv',
        '--picture',
        'n.png',
    )
    encoder = load_encoder(folder / 'tiny.py', folder / 'tiny.pth')
    expected = nearest(encoder.embed('sit/a.npy'), gallery.features, 3)
    rows = rows_of('n.csv')
    assert [row['name'] for row in rows] == gallery.names[expected.indices[0]].tolist()
    assert (
        rows[0]['name'] == './sit/a.npy'
        and rows[0]['similarity'] == '1.0000'
        and rows[0]['label'] == 'sit'
    )
    assert (
        all(row['name'] in printed for row in rows)
        and (tmp_path / 'n.png').read_bytes()[:4] == b'\x89PNG'
    )
    tool(
        'embed.py search',
        './sit/a.npy',
        '--gallery',
        'gallery.npz',
        '-k',
        '3',
        '--out',
        'n.csv',
        '--others',
    )
    assert './sit/a.npy' not in [row['name'] for row in rows_of('n.csv')]


def test_classifier_is_kept_and_used(tool, folder, tmp_path):  # noqa: F811
    kept = str(folder / 'gestures.npz')
    (tmp_path / 'text.npy').unlink()
    printed = tool('embed.py few_shot', '--examples', '.', '--save', kept, '--classify', '.')
    assert 'examples: run 3, sit 2' in printed and 'leave-one-out accuracy' in printed
    files, labels = (
        [f'./run/{n}.npy' for n in 'abc'] + ['./sit/a.npy', './sit/b.npy'],
        ['run'] * 3 + ['sit'] * 2,
    )
    embeddings = load_encoder(folder / 'tiny.py', folder / 'tiny.pth').embed(files)
    expected = fit_classifier(embeddings, labels).predict(embeddings).tolist()
    right = sum(map(str.__eq__, expected, labels))
    assert f'accuracy on the 5 labeled recordings: {20 * right:.1f} %' in printed
    again = tool('embed.py few_shot', '--classifier', kept, '--classify', '.', '--out', 'p.csv')
    assert [row['predicted'] for row in rows_of('p.csv')] == expected
    assert again.splitlines()[-1] == printed.splitlines()[-1]


def test_samples(tool):
    few = ['--subjects', '1', '--cameras', '1']
    assert 'out: 14 recordings' in tool('prepare_data.py samples', 'out', *few, encoder=False)
