"""Job runner with stub commands: order, devices, failures, interruptions."""

import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paper_tables import run
from paper_tables.jobs import Job
from paper_tables.records import work_dir_lock
from rich.console import Console

from .stub_jobs import evaluation, execute, report, toy_plan, training


def log(work: Path, name: str) -> str:
    return (work / name / 'log.txt').read_text()


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(run, 'POLL', 0.005)


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> str:
    """The table of a run without a stop."""
    plan, work = toy_plan(), tmp_path_factory.mktemp('whole')
    assert set(execute(plan.jobs, work).values()) == {'done'}
    return report(plan, work)


def test_everything_runs_once(tmp_path, capsys, whole):
    plan = toy_plan()
    assert set(execute(plan.jobs, tmp_path).values()) == {'done'}
    shown = capsys.readouterr().out
    assert shown.count('started') == shown.count('finished') == 8 and '; 0 left' in shown

    assert execute(plan.jobs, tmp_path) == {} and capsys.readouterr().out == ''
    assert report(plan, tmp_path) == whole and '…' not in whole
    text = log(tmp_path, 'toy/row0_seed0')
    assert text.startswith('$ python -S -c') and text.count('epoch 4') == 1


def test_order(tmp_path, capsys):
    """On one device: dependencies first, else the order of the plan, also where it is not given."""
    plan = toy_plan()
    execute(dict(reversed(plan.jobs.items())), tmp_path / 'reversed', run.cpu_devices(1, 1))
    execute(plan.jobs, tmp_path / 'given', run.cpu_devices(1, 1))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    started = [words[1] for words in lines if words[0] == 'started']

    names = list(plan.jobs)
    trainings, tests = names[::2], names[1::2]
    pairs = [name for pair in zip(trainings[::-1], tests[::-1]) for name in pair]
    assert started == pairs + names


def test_devices(tmp_path, monkeypatch):
    """As many jobs at a time as devices, each with the environment of its device."""
    running, most, lock = [], [], threading.Lock()
    start = subprocess.Popen

    def popen(*arguments, **keywords):
        with lock:
            running[:] = [process for process in running if process.returncode is None]
            running.append(start(*arguments, **keywords))
            most.append(len(running))
            return running[-1]

    monkeypatch.setattr(run.subprocess, 'Popen', popen)
    monkeypatch.setenv('OMP_NUM_THREADS', '9')
    execute(toy_plan().jobs, tmp_path, run.gpu_devices([0, 2], '5,6,7'))
    assert max(most) == 2
    used = {log(tmp_path, f'toy/row{i}_seed{s}').split()[-2] for i in range(2) for s in range(2)}
    assert used == {'5', '7'} and log(tmp_path, 'toy/row0_seed0').split()[-1] == '9'


def test_environments_of_devices():
    half = {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '2'}
    assert run.cpu_devices(2, 5) == {'CPU 0': half, 'CPU 1': half}
    one = dict(half, OMP_NUM_THREADS='1')
    assert run.cpu_devices(2, 5, limit=1) == {'CPU 0': one, 'CPU 1': one}
    assert run.gpu_devices([1], None) == {'GPU 1': {'CUDA_VISIBLE_DEVICES': '1'}}


def test_progress_on_a_terminal(tmp_path, monkeypatch):
    console = Console(force_terminal=True, width=200, record=True, file=io.StringIO())
    monkeypatch.setattr(run, 'Console', lambda **options: console)
    execute(toy_plan(1, 1).jobs, tmp_path)
    assert '2/2' in console.export_text()


def test_failure(tmp_path, capsys):
    """Jobs that depend on a failed one are skipped, others run; the next call tries again."""
    plan = toy_plan(2, 1)
    code = "print('first'); print('cannot go on'); raise SystemExit(3)"
    broken = training('toy/row0_seed0', 0, code=code)
    states = execute({**plan.jobs, broken.name: broken}, tmp_path)
    assert list(states.values()) == ['failed', 'skipped', 'done', 'done']
    shown = capsys.readouterr().out
    assert f'exit code 3: cannot go on (log: {tmp_path / broken.name / "log.txt"})' in shown
    assert 'skipped   toy/row0_seed0/eval' in shown
    assert '…' in report(plan, tmp_path)

    silent = training('toy/row0_seed0', 0, code='pass')
    states = execute({**plan.jobs, silent.name: silent}, tmp_path)
    assert states == {silent.name: 'failed', f'{silent.name}/eval': 'skipped'}
    assert 'it did not write epoch_4.pth' in capsys.readouterr().out
    assert list(execute(plan.jobs, tmp_path).values()) == ['done', 'done']


def test_missing_file_of_a_command(tmp_path, capsys):
    lost = Job('toy/lost', 'evaluation', ('-c', 'pass', '{work}/toy/*.py'), ('result.json',))
    assert execute({lost.name: lost}, tmp_path) == {lost.name: 'failed'}
    assert 'matches 0 files' in capsys.readouterr().out


def test_error_of_the_runner_ends_its_jobs(tmp_path, monkeypatch):
    """For example on a full disk."""
    slow = training('toy/slow', 0, code='import time; time.sleep(60)')
    quick = training('toy/quick', 0)
    monkeypatch.setattr(run.Records, 'finish', lambda *_: 1 / 0)
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        execute({job.name: job for job in (slow, quick)}, tmp_path)
    assert time.monotonic() - started < 30


def test_interrupted_at_any_moment(tmp_path, whole, capsys):
    """SIGTERM again and again, each time later so that slow machines finish too: same table."""
    plan, rng, stops = toy_plan(), random.Random(0), 0
    for attempt in range(1, 200):
        with run.stop_requests() as stop:
            timer = threading.Timer(
                rng.uniform(0.015, 0.03) * attempt, os.kill, (os.getpid(), signal.SIGTERM)
            )
            timer.start()
            states = execute(plan.jobs, tmp_path, stop=stop)
            timer.cancel()
            timer.join()
        if not stop.requests or 'waiting' not in states.values():
            break
        stops += 1
        assert not set(states.values()) & {'running', 'failed'}
    assert stops >= 3 and capsys.readouterr().out.count('resumed') >= 1

    execute(plan.jobs, tmp_path)
    assert report(plan, tmp_path) == whole


def test_killed_at_any_moment(tmp_path, whole):
    """The call itself is killed and its jobs run on; the next call waits for them and resumes."""
    plan, rng = toy_plan(), random.Random(1)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            execute(plan.jobs, tmp_path)
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
    execute(plan.jobs, tmp_path)
    assert report(plan, tmp_path) == whole


DEAF = """
import signal, sys, time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + '/on', 'w')
time.sleep(60)
"""


@pytest.mark.parametrize('grace, requests', [(0.3, 1), (60.0, 2)])
def test_process_that_ignores_sigterm_is_killed(tmp_path, monkeypatch, grace, requests):
    """After the grace period, or at a second request."""
    monkeypatch.setattr(run, 'GRACE', grace)
    deaf = training('toy/deaf', 0, code=DEAF)
    stop = run.Stop()

    def request() -> None:
        while not (tmp_path / 'toy/deaf/on').exists():
            time.sleep(0.01)
        for _ in range(requests):
            stop.requests += 1
            time.sleep(0.3)

    thread = threading.Thread(target=request)
    thread.start()
    assert execute({deaf.name: deaf}, tmp_path, stop=stop) == {deaf.name: 'waiting'}
    thread.join(10)
    assert not thread.is_alive()


def test_lock_outlives_a_killed_call(tmp_path):
    """A second call is refused, also while a job of a killed one still runs."""
    work = str(tmp_path)
    with work_dir_lock(work) as lock:
        with pytest.raises(ValueError, match='in use by another reproduce.py'), work_dir_lock(work):
            pass
        left = subprocess.Popen(
            [sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    with pytest.raises(ValueError, match='a job of one that was killed'), work_dir_lock(work):
        pass
    left.communicate(b'\n')
    with work_dir_lock(work):
        pass


def test_evaluation_of_a_training(tmp_path):
    """The wildcard of its command stands for the training's checkpoint."""
    first = training('toy/run', 1)
    test = evaluation(first)
    execute({job.name: job for job in (first, test)}, tmp_path)
    assert f'{tmp_path}/toy/run/epoch_4.pth' in log(tmp_path, test.name)
