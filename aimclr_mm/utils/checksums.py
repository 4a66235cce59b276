"""SHA-256 checksums of files, computed once while a file stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress

from .files import atomic_write, open_regular, read_json

SETTLED = 10**9  # ns; file systems round their time stamps to milliseconds


def sha256(path: str) -> str:
    """Return the SHA-256 checksum of a file, in about a second per GB."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def file_state(path: str) -> dict[str, int]:
    """Return size, inode and times of a file, which differ after every change of its content.

    Programs can set the time of modification, but not that of the last change of the inode.
    """
    status = os.stat(path)
    return dict(
        bytes=status.st_size,
        inode=status.st_ino,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
    )


def remembered_sha256(path: str, memory: str) -> str:
    """Return the checksum of a file, from ``memory`` if the file has not changed since.

    Args:
        path: the file.
        memory: JSON file with the checksum; written unless its folder is read-only.
    """
    state = file_state(path)
    known = {}
    with suppress(OSError, ValueError):
        known = read_json(memory)
    if isinstance(known, dict) and known.get('state') == state:
        return str(known.get('sha256'))

    started = time.time_ns()
    checksum = sha256(path)
    # a file that has just been written could change again within one tick of its time stamps
    if started - state['changed_ns'] > SETTLED and file_state(path) == state:
        with suppress(OSError), atomic_write(memory) as file:
            json.dump(dict(file=os.path.abspath(path), state=state, sha256=checksum), file)
    return checksum
