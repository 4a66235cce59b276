"""Resume of the real command after SIGKILL and SIGTERM: bit-equal to an uninterrupted run."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.runs import (
    ROOT,
    alive,
    assert_same,
    environment,
    finish,
    free_port,
    saved_iterations,
    start,
    start_ranks,
    wait_for,
    write_config,
)

pytestmark = pytest.mark.slow
KILLS, EPOCHS = 20, 12  # of five iterations, a checkpoint after each
LAST = f'iter_{5 * EPOCHS}.pth'
SHORT = ('--cfg-options', 'train_cfg.max_epochs=4')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """Return a config with its data."""
    return write_config(
        tmp_path_factory.mktemp('config'), f'train_cfg = dict(max_epochs={EPOCHS})\n'
    )


@pytest.fixture(scope='module')
def whole(config, tmp_path_factory):
    """Return the work directory of an uninterrupted run with all checkpoints."""
    work_dir = tmp_path_factory.mktemp('whole')
    assert (
        finish(
            start(config, work_dir, '--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=-1')
        )
        == 0
    )
    return work_dir


def iteration(work_dir) -> int:
    return max(saved_iterations(work_dir), default=0)


def wait_for_iterations(number: int, work_dir, process) -> None:
    """Wait until so many more iterations are saved."""
    goal = iteration(work_dir) + number
    wait_for(lambda: iteration(work_dir) >= goal, process)


def run(*command, **variables) -> subprocess.Popen:
    """Start a command in the repository."""
    return subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env=environment(CUDA_VISIBLE_DEVICES='', **variables),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_twenty_kills_change_nothing(config, whole, tmp_path):
    rng, torn = random.Random(0), 0
    for kill in range(KILLS):
        first, process = iteration(tmp_path), start(config, tmp_path, '--resume')
        half = f'iter_*.{process.pid}.tmp'
        if kill % 3 == 0:  # while it starts, or in its first steps
            end = time.monotonic() + rng.uniform(0, 1.5)
            wait_for(lambda: time.monotonic() > end or iteration(tmp_path) > first + 1, process)  # noqa: B023
        else:
            wait_for_iterations(rng.randrange(3), tmp_path, process)
            if kill % 3 == 1:  # while it saves
                wait_for(lambda: list(tmp_path.glob(half)), process)  # noqa: B023
            else:
                time.sleep(rng.uniform(0, 0.06))
        process.kill()
        assert finish(process) == -signal.SIGKILL
        torn += bool(list(tmp_path.glob(half)))
    assert torn and 0 < iteration(tmp_path) < 5 * EPOCHS
    assert finish(start(config, tmp_path, '--resume')) == 0
    content = assert_same(tmp_path / LAST, whole / LAST)
    assert content['state_dict']['memory_bank.pointer'] == 8 * 5 * EPOCHS % 40 and not list(
        tmp_path.glob('*.tmp')
    )


def test_the_command_after_a_kill_a_sigterm_and_a_truncated_checkpoint(config, whole, tmp_path):
    command = (sys.executable, 'tools/train.py', config, '--work-dir', tmp_path, '--resume', *SHORT)
    process = run(*command)
    wait_for_iterations(3, tmp_path, process)
    process.kill()
    process.communicate()
    process = run(*command)
    wait_for_iterations(3, tmp_path, process)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143 and 'Traceback' not in output
    assert f'SIGTERM: saved {tmp_path}/interrupted.pth after iteration' in output

    torn = tmp_path / 'interrupted.pth'
    torn.write_bytes(torn.read_bytes()[:-1000])
    assert finish(start(config, tmp_path, '--resume', *SHORT)) == 0
    assert (
        f'{torn} is damaged and skipped' in (tmp_path.parent / f'{tmp_path.name}.log').read_text()
    )
    assert_same(tmp_path / 'iter_20.pth', whole / 'iter_20.pth')


def test_sigterm_to_the_workers_of_the_data_loader_too(config, whole, tmp_path):
    process = start(config, tmp_path, *SHORT, 'train_dataloader.num_workers=2')
    wait_for_iterations(7, tmp_path, process)
    os.killpg(process.pid, signal.SIGTERM)
    assert finish(process) == 143
    assert finish(start(config, tmp_path, '--resume', *SHORT)) == 0
    assert_same(tmp_path / 'iter_20.pth', whole / 'iter_20.pth')


def test_sigterm_to_two_ranks(tmp_path):
    config = write_config(
        tmp_path, 'train_dataloader.update(batch_size=4)\ntrain_cfg.update(max_epochs=3)\n'
    )
    assert [finish(rank) for rank in start_ranks(2, config, tmp_path / 'whole')] == [0, 0]
    work_dir = tmp_path / 'stopped'
    launcher = run(
        'bash', 'tools/dist_train.sh', config, 2, '--work-dir', work_dir, PORT=free_port()
    )
    wait_for_iterations(7, work_dir, launcher)
    launcher.send_signal(signal.SIGTERM)
    output = launcher.communicate(timeout=60)[0]
    assert launcher.returncode == 143 and 'Traceback' not in output, output[-2000:]
    assert output.count('SIGTERM: saved') == 1 and (work_dir / 'interrupted.pth').exists()
    assert [finish(rank) for rank in start_ranks(2, config, work_dir, '--resume')] == [0, 0]
    assert_same(work_dir / 'iter_15.pth', tmp_path / 'whole' / 'iter_15.pth')


def test_one_rank_that_got_the_signal_is_enough(tmp_path):
    config = write_config(
        tmp_path, 'train_dataloader.update(batch_size=4)\ntrain_cfg.update(max_epochs=3)\n'
    )
    ranks = start_ranks(2, config, tmp_path / 'work')
    wait_for_iterations(2, tmp_path / 'work', ranks[0])
    ranks[1].terminate()
    assert [finish(rank) for rank in ranks] == [143, 143] and not any(map(alive, ranks))
    assert (tmp_path / 'work' / 'interrupted.pth').exists()


def test_second_training_in_one_work_directory_is_refused(config, whole, tmp_path):
    """It names the first one, which goes on; a third one starts when that is killed."""
    work_dir = tmp_path / 'run'
    first = start(config, work_dir)
    wait_for_iterations(1, work_dir, first)
    before = (work_dir / config.name).stat()
    assert finish(start(config, work_dir, '--resume')) == 1
    said = (tmp_path / 'run.log').read_text()
    assert f'process {first.pid} on ' in said and f"is working on '{work_dir}'" in said
    assert (work_dir / config.name).stat() == before

    os.kill(first.pid, signal.SIGKILL)
    first.join()
    assert finish(start(config, work_dir, '--resume')) == 0
    assert_same(work_dir / LAST, whole / LAST)
