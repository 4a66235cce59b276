"""tools/test.py with several checkpoints: names of rows and the table; test_demo.py runs it."""

import runpy

import pytest

from tests.runs import ROOT

TOOL = runpy.run_path(str(ROOT / 'tools' / 'test.py'))


@pytest.mark.parametrize(
    'paths, names',
    [
        (['raw', 'random', 'work/epoch_3.pth'], ['raw', 'random', 'epoch_3']),
        (['a/epoch_3.pth', 'b/epoch_3.pth'], ['a/epoch_3', 'b/epoch_3']),
        (['./a.b.pth'], ['a.b']),
    ],
)
def test_rows_are_named_by_the_shortest_ends_of_the_paths(paths, names):
    assert TOOL['row_names'](paths) == names


def test_table_of_several_checkpoints():
    results = {
        'raw': {'knn/top1': 51.9},
        'epoch_3': {'knn/top1': 60.0, 'linear/top1': 42.0, 'linear/top1_std': 2.0},
    }
    rows = [line.split() for line in TOOL['table'](results).splitlines()]
    assert rows == [
        ['knn/top1', 'linear/top1'],
        ['raw', '51.90', '-'],
        ['epoch_3', '60.00', '42.00', '±', '2.00'],
    ]


def test_results_are_kept_in_the_work_directory_of_the_checkpoint(tmp_path):
    trained = tmp_path / 'work'
    trained.mkdir()
    (trained / 'last_checkpoint').write_text(f'{trained}/epoch_3.pth')
    checkpoint = str(trained / 'epoch_3.pth')
    folder = TOOL['result_folder']
    assert folder('work_dirs/a', ['raw', 'random', checkpoint]) == str(trained / 'test')
    assert folder('work_dirs/a', ['raw', str(tmp_path / 'b.pth')]) == 'work_dirs/a/test'


def test_advice_where_training_does_not_pay():
    advice = TOOL['advice']
    raw, good = {'knn/top1': 51.9}, {'knn/top1': 52.0}
    poor, streams = {'knn/top1': 40.0}, {'joint/knn/top1': 60.0, 'fused/knn/top1': 50.0}
    assert advice({'raw': raw, 'random': poor, 'a': good}, 3) == []
    assert advice({'a': poor}, 3) == advice({'raw': {'linear/top1': 1.0}, 'a': poor}, 3) == []
    (line,) = advice({'raw': raw, 'random': poor, 'a': poor, 'b': good, 'c': streams}, 3)
    assert '(51.90 %) are better than those of a, c:' in line
    assert 'try the encoder generated-3s of the package, or whitened embeddings' in line
    (line,) = advice({'raw': raw, 'a': poor}, 2)
    assert 'generated-coco17' in line and 'generated-3s' not in line


def test_advice_names_only_what_was_not_tried():
    advice = TOOL['advice']
    raw, whitened = {'knn/top1': 51.9}, {'knn/top1': 40.0, 'knn_whitened/top1': 45.0}
    (line,) = advice({'raw': raw, 'generated-3s': {'fused/knn/top1': 50.0}}, 3)
    assert 'package' not in line and 'knn_whitened' in line
    (line,) = advice({'raw': raw, 'generated-3s': whitened}, 3)
    assert line.endswith('use raw coordinates')
    better = {'fused/knn/top1': 50.0, 'fused/knn_whitened/top1': 60.0}
    (line,) = advice({'raw': raw, 'a': whitened, 'generated-3s': better}, 3)
    assert line.endswith('those of a: before training for longer, try generated-3s')
