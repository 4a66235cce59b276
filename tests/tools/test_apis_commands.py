"""tools/embed.py and tools/prepare_data.py samples: results and error messages."""

import csv
import logging
from unittest.mock import ANY

import numpy as np
import pytest
from mmengine.logging import MMLogger

from aimclr_mm.apis import cli, fit_classifier, load_encoder, nearest
from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.evaluation.results import EmbeddingSet
from aimclr_mm.skeletons import map_layout
from aimclr_mm.utils.terminal import printable
from tests.apis.test_apis import folder, walk  # noqa: F401  a fixture
from tests.datasets.readers.test_utd_mhad import mat, skeleton
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


def test_recordings_of_another_layout_are_mapped(tool, monkeypatch, tmp_path):
    notes = []
    monkeypatch.setattr(MMLogger, 'info', lambda self, text, *_: notes.append(text))
    np.save(tmp_path / 'new.npy', walk(8, joints=20))
    (tmp_path / 'a.mat').write_bytes(mat(skeleton(1)))
    options = ['--gallery', 'new.npy', 'a.mat', '-k', '2', '--layout', 'kinect20']
    printed = tool('embed.py search', 'a.mat', *options, '--picture', 'p.png')
    assert printed.splitlines()[0] == 'a.mat' and len(printed.splitlines()) == 4
    mapped = [note for note in notes if 'are mapped' in note]
    assert len(mapped) == 1 and 'layout kinect20 are mapped to ntu25' in mapped[0]
    assert (tmp_path / 'p.png').stat().st_size > 1000


def test_annotation_file_is_mapped(tool, tmp_path):
    (tmp_path / 'raw').mkdir()
    (tmp_path / 'raw' / 'a2_s1_t1_skeleton.mat').write_bytes(mat(skeleton(2)))
    command = ['prepare_data.py utd_mhad', 'raw', '--workers', '1', '--out']
    tool(*command, 'own.pkl', encoder=False)
    assert '1 x 25 joints' in tool(*command, 'ntu.pkl', '--map-to', 'ntu25', encoder=False)
    mapped = read_pickle('ntu.pkl')
    assert mapped['metainfo']['layout'] == 'ntu25' and mapped['split'] == {'xsub_train': ANY}

    verify = ['prepare_data.py mmaction2', 'own.pkl', '--map-to', 'ntu25']
    assert 'mapped to ntu25' in tool(*verify, '--out', 'again.pkl', encoder=False)
    again = read_pickle('again.pkl')
    assert again['metainfo'] == mapped['metainfo']
    expected = map_layout(read_pickle('own.pkl')['annotations'][0]['keypoint'], 'kinect20', 'ntu25')
    for content in (mapped, again):
        np.testing.assert_array_equal(content['annotations'][0]['keypoint'], expected)

    assert '--out is missing' in tool(*verify, encoder=False)
    assert "'kinect20' to 'coco17'" in tool(*command, 'x.pkl', '--map-to', 'coco17', encoder=False)


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


def test_unlabeled_recordings_whiten_the_classifier(tool, folder, tmp_path):  # noqa: F811
    (tmp_path / 'text.npy').unlink()
    examples = ['--examples', '.', '--classify', '.', '--out', 'p.csv']
    tool('embed.py few_shot', *examples, '--unlabeled', 'run')
    files = [f'run/{n}.npy' for n in 'abc'] + ['sit/a.npy', 'sit/b.npy']
    embeddings = load_encoder(folder / 'tiny.py', folder / 'tiny.pth').embed(files)
    labels = ['run'] * 3 + ['sit'] * 2
    classifier = fit_classifier(embeddings, labels, unlabeled=embeddings[:3])
    found = [(row['predicted'], row['probability']) for row in rows_of('p.csv')]
    probabilities = classifier.probabilities(embeddings).max(axis=1)
    assert found == [
        (name, f'{p:.4f}') for name, p in zip(classifier.predict(embeddings), probabilities)
    ]

    wrong = ['--classifier', 'c.npz', '--classify', 'run', '--unlabeled', 'run']
    error = tool('embed.py few_shot', *wrong)
    assert '--unlabeled is for a new classifier; give --examples SOURCE too' in error


def test_samples(tool):
    few = ['--subjects', '1', '--cameras', '1']
    assert 'out: 14 recordings' in tool('prepare_data.py samples', 'out', *few, encoder=False)


def test_text_of_others_does_not_control_the_terminal(tool, tmp_path):
    """Names of files and classes and messages about them; the files that are written keep them."""
    odd = 'run/\x1b]0;evil\x07\u202e.npy'
    np.save(tmp_path / odd, walk(8))
    for label in ('g\x1b[2J', 'sit'):
        (tmp_path / 'examples' / label).mkdir(parents=True)
        np.save(tmp_path / 'examples' / label / 'a.npy', walk(8) + len(label))
    (tmp_path / 'x\x1b[5m.npy').write_text('no array')

    found = tool('embed.py search', odd, '--gallery', 'run', '-k', '2', '--out', 'found.csv')
    assert 'run/\\x1b]0;evil\\x07\\u202e.npy' in found
    assert rows_of('found.csv')[0]['query'] == odd
    examples = ['--examples', 'examples', '--classify', odd]
    classes = tool('embed.py few_shot', *examples)
    assert 'examples: g\\x1b[2J 1, sit 1' in classes
    error = tool('embed.py search', 'x\x1b[5m.npy', '--gallery', 'run')
    assert 'x\\x1b[5m.npy' in error and 'is not a readable .npy file' in error
    wrong = tool('embed.py search', 'run', '--gallery', 'run', '-k', '\x1b[31m')
    for text in (found, classes, error, wrong):
        assert text.replace('\n', '').isprintable(), text


def test_log_of_a_command_is_printable(tool):
    tool('embed.py embed', 'sit', 'run', '--out', 'b.npz')  # sets up the log
    record = logging.getLogger('x').makeRecord('x', 20, 'x.py', 1, 'seed %s\n', ('\x1b[1m',), None)
    assert record.getMessage() == 'seed \\x1b[1m\n'


def test_joiners_and_letters_are_printable():
    text = 'Gehen \u0645\u06cc\u200c\u0631\u0648\u062f \U0001f6b6\u200d\u2640'
    assert printable(text) == text and printable('a\tb\x9b') == 'a\\tb\\x9b'
