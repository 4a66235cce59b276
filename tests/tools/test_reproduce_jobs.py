"""The job runner with stub commands: order, devices, what is finished, failures, interruptions."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paper_tables import jobs
from paper_tables.graph import Job, Options, Plan, Source, Training
from paper_tables.published import Column, Recipe, Row, Table
from paper_tables.records import Records, work_dir_lock
from paper_tables.screen import duration, remaining
from paper_tables.tables import Report

EPOCHS = 4
END = b'PK\x05\x06' + bytes(18)  # by which a whole checkpoint is known
# trains epoch by epoch, goes on after --resume; the result depends on every epoch
TRAIN = f"""
import os, sys, time
folder, value, first = sys.argv[1], int(sys.argv[2]), 1
if '--resume' in sys.argv:
    with open(sys.argv[-1], 'rb') as file:
        value = int(file.read()[:3])
    first += int(sys.argv[-1].rsplit('_')[-1][:-4])
for epoch in range(first, {EPOCHS + 1}):
    time.sleep(0.02)
    value = (31 * value + epoch) % 900 + 100
    with open(folder + f'/epoch_{{epoch}}.pth', 'wb') as file:
        file.write(str(value).encode())
        file.flush()
        time.sleep(0.005)
        file.write({END!r})
    print('epoch', epoch, os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ.get('OMP_NUM_THREADS'))
"""
TEST = """
import sys
with open(sys.argv[1], 'rb') as file:
    value = int(file.read()[:3])
with open(sys.argv[2], 'w') as file:
    file.write('{"metrics": {"linear/top1": %r}}' % (value / 10))
"""
COLUMN = Column('toy', 'xsub')
DEVICES = jobs.cpu_devices(2, 4)


def training(name: str, value: int, digest: str = 'd', code: str = TRAIN) -> Job:
    return Job(
        name,
        'pre-training',
        ('-S', '-c', code, f'{{work}}/{name}', str(value)),
        (f'epoch_{EPOCHS}.pth',),
        training=Training('toy_xsub', (), EPOCHS, EPOCHS, 1, digest),
    )


def evaluation(run: Job) -> Job:
    name = f'{run.name}/eval'
    return Job(
        name,
        'evaluation',
        ('-S', '-c', TEST, run.path('epoch_4*.pth'), f'{{work}}/{name}/result.json'),
        ('result.json',),
        (run.name,),
    )


def toy_plan(count: int = 2, seeds: int = 2) -> Plan:
    """A table of some rows, one training and one evaluation a seed each."""
    rows = tuple(Row(f'row {i}', (10.0 * i,), Recipe('aimclr')) for i in range(count))
    made, cells = {}, {}
    for seed in range(seeds):
        for i, row in enumerate(rows):
            run = training(f'toy/row{i}_seed{seed}', 7 * i + seed)
            test = evaluation(run)
            made |= {run.name: run, test.name: test}
            cells.setdefault((row, COLUMN), []).append(
                Source(test.name, 'result.json', 'linear/top1')
            )
    table = Table('1', 'Toy', (COLUMN,), rows)
    return Plan(
        table,
        Options(tuple(range(seeds))),
        made,
        {cell: tuple(s) for cell, s in cells.items()},
        {COLUMN: 4},
    )


def execute(
    plan: Plan, work: Path, devices=DEVICES, stop: jobs.Stop | None = None
) -> dict[str, str]:
    """Runs what is needed of a plan; returns the state of each job."""
    records = Records(str(work), plan.jobs)
    with work_dir_lock(str(work)) as lock:
        return jobs.JobRunner(
            records, records.needed(plan.jobs), devices, stop or jobs.Stop(), lock
        ).run()


def log(work: Path, name: str) -> str:
    return (work / name / 'log.txt').read_text()


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(jobs, 'POLL', 0.005)


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> str:
    """The table of a run without a stop."""
    plan, work = toy_plan(), tmp_path_factory.mktemp('whole')
    assert set(execute(plan, work).values()) == {'done'}
    return Report(plan, Records(str(work), plan.jobs)).write()


def test_everything_runs_once(tmp_path, capsys, whole):
    plan = toy_plan()
    assert set(execute(plan, tmp_path).values()) == {'done'}
    shown = capsys.readouterr().out
    assert shown.count('started') == shown.count('finished') == 8 and 'nothing is left' in shown
    assert execute(plan, tmp_path) == {} and capsys.readouterr().out == ''
    assert Report(plan, Records(str(tmp_path), plan.jobs)).write() == whole and '…' not in whole
    text = log(tmp_path, 'toy/row0_seed0')
    assert text.startswith('$ python -S -c') and text.count('epoch 4') == 1


def test_devices(tmp_path, monkeypatch):
    """As many jobs at a time as devices, each with the environment of its own; dependencies first."""
    running, most = [], []
    start = subprocess.Popen

    def popen(*arguments, **keywords):
        running[:] = [p for p in running if p.poll() is None]
        running.append(start(*arguments, **keywords))
        most.append(len(running))
        return running[-1]

    monkeypatch.setattr(jobs.subprocess, 'Popen', popen)
    monkeypatch.setenv('OMP_NUM_THREADS', '9')
    execute(toy_plan(), tmp_path, jobs.gpu_devices([0, 2], '5,6,7'))
    assert max(most) == 2
    used = {log(tmp_path, f'toy/row{i}_seed{s}').split()[-2] for i in range(2) for s in range(2)}
    assert used == {'5', '7'} and log(tmp_path, 'toy/row0_seed0').split()[-1] == '9'
    assert [dict(d.environment) for d in jobs.cpu_devices(2, 5)] == 2 * [
        {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '2'}
    ]
    assert [dict(d.environment) for d in jobs.gpu_devices([1], None)] == [
        {'CUDA_VISIBLE_DEVICES': '1'}
    ]


def test_failure(tmp_path, capsys):
    """What depends on a failed job is skipped, the rest goes on; the next call tries again."""
    plan = toy_plan(2, 1)
    bad = training(
        'toy/row0_seed0', 0, code="print('first'); print('cannot go on'); raise SystemExit(3)"
    )
    broken = Plan(**{**vars(plan), 'jobs': {**plan.jobs, bad.name: bad}})
    states = execute(broken, tmp_path)
    assert list(states.values()) == ['failed', 'skipped', 'done', 'done']
    shown = capsys.readouterr().out
    assert (
        'exit code 3: cannot go on (log: ' in shown
        and str(tmp_path / bad.name / 'log.txt') in shown
    )
    assert '…' in Report(broken, Records(str(tmp_path), broken.jobs)).write()
    silent = training('toy/row0_seed0', 0, code='pass')
    states = execute(Plan(**{**vars(plan), 'jobs': {**plan.jobs, silent.name: silent}}), tmp_path)
    assert states == {silent.name: 'failed', f'{silent.name}/eval': 'skipped'}
    assert 'without writing epoch_4.pth' in capsys.readouterr().out
    assert list(execute(plan, tmp_path).values()) == ['done', 'done']


def test_missing_file_of_a_command(tmp_path, capsys):
    lost = Job('toy/lost', 'evaluation', ('-c', 'pass', '{work}/toy/*.py'), ('result.json',))
    assert execute(Plan(**{**vars(toy_plan()), 'jobs': {lost.name: lost}}), tmp_path) == {
        lost.name: 'failed'
    }
    assert 'stands for 0 files' in capsys.readouterr().out


def test_interrupted_at_any_moment(tmp_path, whole, capsys):
    """SIGTERM again and again, each time a little later, so that slow machines come to the end too: the same table."""
    plan, rng, stops = toy_plan(), random.Random(0), 0
    for attempt in range(1, 200):
        with jobs.stop_requests() as stop:
            timer = threading.Timer(
                rng.uniform(0.015, 0.03) * attempt, os.kill, (os.getpid(), signal.SIGTERM)
            )
            timer.start()
            states = execute(plan, tmp_path, stop=stop)
            timer.cancel()
            timer.join()
        if not stop.requests or 'waiting' not in states.values():
            break
        stops += 1
        assert not set(states.values()) & {'running', 'failed'}
    assert stops >= 3 and capsys.readouterr().out.count('resumed') >= 1
    execute(plan, tmp_path)
    assert Report(plan, Records(str(tmp_path), plan.jobs)).write() == whole


def test_killed_at_any_moment(tmp_path, whole):
    """The call itself is killed, so that its jobs go on alone; the next one waits for them and goes on."""
    plan, rng = toy_plan(), random.Random(1)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            execute(plan, tmp_path)
            os._exit(0)
        time.sleep(rng.uniform(0.05, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while True:
            try:
                with work_dir_lock(str(tmp_path)):
                    break
            except ValueError:
                time.sleep(0.01)
    execute(plan, tmp_path)
    assert Report(plan, Records(str(tmp_path), plan.jobs)).write() == whole


def test_stop_ends_a_process_that_does_not_listen(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, 'GRACE', 0.3)
    deaf = training(
        'toy/deaf',
        0,
        code='import signal, time; signal.signal(15, signal.SIG_IGN); '
        'open(__import__("sys").argv[1] + "/on", "w"); time.sleep(60)',
    )
    stop = jobs.Stop()

    def request() -> None:
        while not (tmp_path / 'toy/deaf/on').exists():
            time.sleep(0.01)
        stop.requests += 1

    thread = threading.Thread(target=request)
    thread.start()
    plan = Plan(**{**vars(toy_plan()), 'jobs': {deaf.name: deaf}})
    assert execute(plan, tmp_path, stop=stop) == {deaf.name: 'waiting'}
    thread.join()


def test_lock_outlives_a_killed_call(tmp_path):
    """A second call is refused, also while a job of a killed one still runs."""
    work = str(tmp_path)
    with work_dir_lock(work) as lock:
        with pytest.raises(ValueError, match='in use by another reproduce.py'), work_dir_lock(work):
            pass
        left = subprocess.Popen(
            [sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    with pytest.raises(ValueError, match='left behind'), work_dir_lock(work):
        pass
    left.communicate(b'\n')
    with work_dir_lock(work):
        pass


def test_other_settings_are_not_mistaken(tmp_path):
    """A training by another command or config is refused; an evaluation that changed is made anew."""
    plan = toy_plan(1, 1)
    execute(plan, tmp_path)
    name = 'toy/row0_seed0'
    for other, what in (
        (training(name, 1), 'by another command'),
        (training(name, 0, 'new'), 'config changed'),
    ):
        with pytest.raises(ValueError, match=f'row0_seed0.*{what}'):
            Records(str(tmp_path), {**plan.jobs, name: other}).check()
    records = Records(str(tmp_path), plan.jobs)
    records.check()
    test = Job(**{**vars(plan.jobs[f'{name}/eval']), 'command': ('-c', 'pass')})
    assert not records.finished(test) and records.finished(plan.jobs[test.name])


def test_results_of_older_runs_do_not_count(tmp_path):
    """A result is made anew after what it was made from; a checkpoint may be deleted after its evaluation."""
    run = training('toy/run', 1)
    fused = Job(
        'toy/fused',
        'fusion',
        ('-S', '-c', TEST, run.path('epoch_4.pth'), '{work}/toy/fused/result.json'),
        ('result.json',),
        (run.name,),
    )
    plan = Plan(**{**vars(toy_plan()), 'jobs': {run.name: run, fused.name: fused}})
    execute(plan, tmp_path)
    records = Records(str(tmp_path), plan.jobs)
    (tmp_path / 'toy/run/epoch_4.pth').unlink()
    assert records.needed([fused.name]) == [] and records.needed([run.name]) == [run]
    execute(Plan(**{**vars(plan), 'jobs': {run.name: run}}), tmp_path)
    assert records.needed([fused.name]) == [fused]
    (tmp_path / 'toy/fused/done.json').write_text('{"command": ')
    assert records.needed([fused.name]) == [fused]


def test_resumed_from_the_newest_whole_checkpoint(tmp_path):
    run, records = training('toy/run', 1), Records(str(tmp_path), {})
    assert records.begin(run) is None
    folder = tmp_path / 'toy/run'
    for epoch in (2, 9, 10):
        (folder / f'epoch_{epoch}.pth').write_bytes(b'1' + END)
    (folder / 'epoch_10.pth').write_bytes(b'1' + END[:-3])
    assert records.begin(run) == str(folder / 'epoch_9.pth') and (folder / 'epoch_10.pth').exists()
    for epoch in (2, 9):
        (folder / f'epoch_{epoch}.pth').write_bytes(b'')
    assert records.begin(run) is None and [path.name for path in folder.iterdir()] == ['job.json']


def test_times():
    assert [duration(s) for s in (0, 0.2, 59.6, 200, 3600, 100000)] == [
        '0 s',
        'less than 1 s',
        '1 min',
        '3 min 20 s',
        '1 h',
        '1 d 3 h',
    ]
    measured = {'a': [10.0, 20.0], 'b': [1.0]}
    assert (
        remaining(['a', 'a', 'b', 'b'], measured, 2) == 16.0
        and remaining(['b'], measured, 8) == 1.0
    )
    assert remaining(['a', 'c'], measured, 1) is None
