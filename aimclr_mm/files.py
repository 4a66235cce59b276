"""Files and folders that are written as a whole or not at all."""
from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

MAX_RATIO = 100         # of what an archive holds to the bytes of it; arrays of text and labels reach 50
ALWAYS = 64 * 2**20     # bytes that an archive may hold, however small it is


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Raises BadZipFile if a zip archive could take much more memory than its size tells, or is packed unusually.

    Only what is stored or deflated is unpacked piece by piece; the other methods give as much as they like at once.

    Args:
        archive: the archive.
        size: of its file in bytes.
    """
    members = archive.infolist()
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise zipfile.BadZipFile('it is compressed by a method other than deflate')
    if sum(member.file_size for member in members) > max(ALWAYS, MAX_RATIO * size):
        raise zipfile.BadZipFile(f'it would be more than {MAX_RATIO} times as large when it is unpacked')


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
            file.flush()
            os.fsync(file.fileno())         # or a crash of the machine could leave the name without the content
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
