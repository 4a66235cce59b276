"""Histories merged from the logs of several runs."""

import json
import math
from pathlib import Path

import pytest

from aimclr_mm.utils.training_log import log_files, read_history


def write_log(work_dir: Path, run: str, records: list, end: str = '') -> None:
    """Write a scalars.json, with an incomplete line ``end``."""
    folder = work_dir / run / 'vis_data'
    folder.mkdir(parents=True)
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    (folder / 'scalars.json').write_text(lines + end)


def train(epoch: int, **values) -> dict:
    return dict(epoch=epoch, step=7 * epoch, **values)


def test_last_record_of_an_epoch_counts(tmp_path):
    records = [train(1, loss=3.0), train(1, loss=2.0), {'step': 1, 'knn/top1': 61.5}]
    write_log(tmp_path, '1', records)
    history = read_history(str(tmp_path))
    assert history.train == {1: dict(epoch=1, step=7, loss=2.0)}
    assert history.validation == {1: {'step': 1, 'knn/top1': 61.5}}
    assert history.runs == {1: '1'} and history.notes == []


def test_later_runs_win(tmp_path):
    """A resumed run replaces the epochs it repeats; one that starts over, all later ones too."""
    validations = [{'step': 4, 'knn/top1': 4.0}, {'step': 5, 'knn/top1': 5.0}]
    write_log(tmp_path, '1', [*(train(e, run=1) for e in range(1, 8)), *validations])
    write_log(tmp_path, '2', [train(e, run=2) for e in range(5, 9)])
    history = read_history(str(tmp_path))
    assert [history.train[e]['run'] for e in range(1, 9)] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert [history.runs[e] for e in range(1, 9)] == [*'11112222']
    assert list(history.validation) == [4] and history.notes == []

    write_log(tmp_path, '3', [train(2, run=3)])
    history = read_history(str(tmp_path))
    assert {e: values['run'] for e, values in history.train.items()} == {1: 1, 2: 3}
    assert history.validation == {} and history.runs == {1: '1', 2: '3'}
    assert history.notes == [
        '3 started over at epoch 2: 6 later epochs of earlier runs are left out'
    ]


def test_damaged_lines_are_skipped_and_named(tmp_path):
    write_log(tmp_path, '1', [train(1), [1], train(2)], end='{"loss": 3.0, "epo')
    history = read_history(str(tmp_path))
    assert list(history.train) == [1, 2]
    assert history.notes == [
        f'{tmp_path}/1/vis_data/scalars.json, damaged and left out: lines 2, 4'
    ]


def test_values_that_are_not_finite_become_nan(tmp_path):
    write_log(tmp_path, '1', [train(1, a=math.nan, b=-math.inf, c=1e99, d='text', e=2)])
    values = read_history(str(tmp_path)).train[1]
    assert all(math.isnan(values[name]) for name in 'abc')
    assert 'd' not in values and values['e'] == 2


def test_folder_without_a_training_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='give the work directory of a training'):
        read_history(str(tmp_path))


def test_order_of_runs_does_not_depend_on_the_clock(tmp_path):
    """A run is resumed after the clock has gone back; it is named before the first one."""
    write_log(tmp_path, '20260102_000000', [train(1, loss=3), train(2, loss=2)])
    write_log(tmp_path, '20260101_000000', [train(3, loss=1)])
    runs = dict(runs=['20260102_000000', '20260101_000000'])
    (tmp_path / 'provenance.json').write_text(json.dumps(runs))
    history = read_history(str(tmp_path))
    assert sorted(history.train) == [1, 2, 3] and not history.notes
    found = [Path(path).parents[1].name for path in log_files(str(tmp_path))]
    assert found == runs['runs']
