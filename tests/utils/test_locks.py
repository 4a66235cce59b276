"""Locks between processes: they exclude, tell who holds them, and end with their process."""

import os
import signal
import time
from pathlib import Path

import pytest

from aimclr_mm.utils import locks
from aimclr_mm.utils.locks import exclusive


def hold(path: Path, fork_again: bool = False) -> int:
    """Hold a lock in a child process, and maybe in a child of it; return its process id."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with exclusive(str(path), 'work', 'wait'):
            if fork_again and os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            os.write(writing, b'x')
            time.sleep(20)
        os._exit(0)
    os.read(reading, 1)
    return pid


@pytest.mark.parametrize('fork_again', [False, True], ids=['alone', 'with a worker'])
def test_lock_is_released_when_its_process_is_killed(tmp_path, monkeypatch, fork_again):
    monkeypatch.setattr(locks, 'WAIT', 0.1)
    path = tmp_path / 'folder' / '.lock'
    pid = hold(path, fork_again)
    try:
        with (
            pytest.raises(ValueError, match=f"process {pid} on .* is working on 'work'.*; wait"),
            exclusive(str(path), 'work', 'wait'),
        ):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for _ in range(2):
        with exclusive(str(path), 'work', 'wait'):
            assert path.read_text().startswith(f'process {os.getpid()} on ')
