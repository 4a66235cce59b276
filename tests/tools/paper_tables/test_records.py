"""Records of a work directory: what is finished, what is out of date, what is resumed."""

import pytest
from paper_tables.jobs import Job
from paper_tables.records import Records

from .stub_jobs import evaluation, execute, toy_plan, training


def test_other_settings_are_refused(tmp_path):
    """A training by another command or config is refused; a changed evaluation is run again."""
    jobs = toy_plan(1, 1).jobs
    execute(jobs, tmp_path)
    name = 'toy/row0_seed0'
    for other, message in (
        (training(name, 1), 'by another command'),
        (training(name, 0, 'new'), 'config changed'),
    ):
        with pytest.raises(ValueError, match=f'row0_seed0.*{message}'):
            Records(str(tmp_path), {**jobs, name: other}).check()

    records = Records(str(tmp_path), jobs)
    records.check()
    test = Job(**{**vars(jobs[f'{name}/eval']), 'command': ('-c', 'pass')})
    assert not records.finished(test) and records.finished(jobs[test.name])


def test_results_of_older_runs_do_not_count(tmp_path):
    """A result is computed again after its inputs; a checkpoint may go after its evaluation."""
    run = training('toy/run', 1)
    test = evaluation(run, 'toy/test')
    jobs = {run.name: run, test.name: test}
    execute(jobs, tmp_path)
    records = Records(str(tmp_path), jobs)
    (tmp_path / 'toy/run/epoch_4.pth').unlink()
    assert records.needed([test.name]) == [] and records.needed([run.name]) == [run]

    execute({run.name: run}, tmp_path)
    assert records.needed([test.name]) == [test]
    (tmp_path / 'toy/test/done.json').write_text('{"command": ')
    assert records.needed([test.name]) == [test]


def test_training_is_resumed(tmp_path):
    """From a checkpoint; without one its folder is emptied."""
    run, records = training('toy/run', 1), Records(str(tmp_path), {})
    folder = tmp_path / 'toy/run'
    assert not records.begin(run)
    (folder / 'log.txt').write_text('')
    assert not records.begin(run) and [path.name for path in folder.iterdir()] == ['job.json']
    (folder / 'epoch_1.pth').write_text('')
    assert records.begin(run) and (folder / 'epoch_1.pth').exists()


def test_training_of_older_inputs_is_not_resumed(tmp_path):
    first = training('toy/first', 1)
    second = training('toy/second', 2, after=(first.name,))
    jobs = {first.name: first, second.name: second}
    records = Records(str(tmp_path), jobs)
    execute(jobs, tmp_path)
    assert records.begin(second)

    records.begin(first)
    records.finish(first, 1.0)
    assert not records.begin(second) and not (tmp_path / 'toy/second/epoch_4.pth').exists()
