"""Locks between processes; the system releases them when their process ends, however it ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from .terminal import printable

WAIT = 3  # seconds


@contextmanager
def exclusive(path: str, target: str, remedy: str) -> Iterator[None]:
    """Keep other processes from working on the same result.

    The lock file stays behind: if it were deleted, processes that wait for it would not see each
    other.

    Args:
        path: file to lock, which is created, with its folder; it tells who holds the lock.
        target: the result, for the message.
        remedy: what to do, for the message.

    Raises:
        ValueError: if another process holds the lock for longer than 3 seconds.
        OSError: if the file cannot be written.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=WAIT)
    except Timeout as error:
        raise ValueError(
            f'{_holder(path)} is working on {target!r} (lock {path!r}); {remedy}'
        ) from error

    try:
        with suppress(OSError), open(path, 'w', encoding='utf-8') as file:  # locked on Windows
            now = time.strftime('%Y-%m-%d %H:%M:%S')
            file.write(f'process {os.getpid()} on {socket.gethostname()}, since {now},')
        yield
    finally:
        lock.release()


def _holder(path: str) -> str:
    """Return a description of the holder of a lock, read from the lock file."""
    with suppress(OSError), open(path, encoding='utf-8', errors='replace') as file:
        return printable(file.read(200)) or 'another process'
    return 'another process'
