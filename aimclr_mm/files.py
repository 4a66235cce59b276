"""Files and folders that are written as a whole or not at all."""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def atomic_folder(path: str) -> Iterator[str]:
    """A folder to fill, which takes its place under ``path`` at the end; after an error nothing is left behind.

    Only one process at a time may write it: what another one, which was killed, has left is deleted.

    Args:
        path: the folder, which must not exist or be empty.
    """
    temporary = f'{path}.partial'
    shutil.rmtree(temporary, ignore_errors=True)
    os.makedirs(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_write(path: str, mode: str = 'w') -> Iterator[IO]:
    """A file to write, which takes its place under ``path`` at the end; after an error nothing is left behind.

    Args:
        path: the file; its folder is made if it is missing.
        mode: ``w`` for text in UTF-8, ``wb`` for bytes.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with open(temporary, mode, encoding=None if 'b' in mode else 'utf-8') as file:
            yield file
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
