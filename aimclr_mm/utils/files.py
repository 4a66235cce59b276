"""Files and folders that are written as a whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

MAX_RATIO = 100  # of what an archive holds to the bytes of it; arrays of text and labels reach 50
ALWAYS = 64 * 2**20  # bytes that an archive may hold, however small it is


def read_json(path: str) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: if it is none, or nested too deeply.
    """
    with open(path, encoding='utf-8') as file:
        try:
            return json.load(file)
        except RecursionError as error:
            raise ValueError('it is nested too deeply') from error


def is_piecewise(member: zipfile.ZipInfo) -> bool:
    """Whether a file of an archive is unpacked piece by piece; other methods give as much as they like at once."""
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Raises BadZipFile if a zip archive could take much more memory than its size tells, or is packed unusually.

    Args:
        archive: the archive.
        size: of its file in bytes.
    """
    members = archive.infolist()
    if not all(map(is_piecewise, members)):
        raise zipfile.BadZipFile('it is compressed by a method other than deflate')
    if sum(member.file_size for member in members) > max(ALWAYS, MAX_RATIO * size):
        raise zipfile.BadZipFile(
            f'it would be more than {MAX_RATIO} times as large when it is unpacked'
        )


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


def check_target(path: str, folder: bool = False) -> None:
    """Raises OSError if a file, or a folder, cannot be written; the message says why.

    Args:
        path: of the file or folder, which need not exist.
        folder: whether it is one.
    """
    there = os.path.abspath(path)
    if os.path.isdir(there) and not folder:
        raise IsADirectoryError(f'{path!r} is a folder; give the name of a file')
    while not os.path.exists(there) or there == os.path.abspath(path) and not folder:
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise NotADirectoryError(
            f'{path!r} cannot be written: {there!r} is a file, not a folder; give another place'
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(
            f'{path!r} cannot be written: there is no permission to write in {there!r}; give another '
            'place'
        )


@contextmanager
def _full_disk_is_named(path: str) -> Iterator[None]:
    """What the system says of a disk that is full or broken, with the name of the file."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
            errno.EIO,
        ):
            raise OSError(error.errno, error.strerror, path) from error
        raise


@contextmanager
def atomic_write(path: str, mode: str = 'w') -> Iterator[IO]:
    """A file to write, which takes its place under ``path`` at the end; after an error nothing is left behind.

    A device or a pipe, such as /dev/stdout, is written to as it is.

    Args:
        path: the file; its folder is made if it is missing.
        mode: ``w`` for text in UTF-8, ``wb`` for bytes.

    Raises:
        OSError: if it cannot be written, see :func:`check_target`.
    """
    encoding = None if 'b' in mode else 'utf-8'
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with _full_disk_is_named(path), open(path, mode, encoding=encoding) as file:
            yield file
        return
    check_target(path)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with _full_disk_is_named(path), open(temporary, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(
                file.fileno()
            )  # or a crash of the machine could leave the name without the content
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
