"""Atomic writes of files and folders, and checks of files before they are used.

Reading a file takes at most 16 times its size and 512 MB more. What a parser allocates for each
element is estimated before it runs (:func:`parse_json`), or limited by a number of elements that
stays below 512 MB. Packed text is unpacked to at most 24 MB more than its size.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

MAX_RATIO = 4  # unpacked size of an archive of arrays, relative to its size
ALWAYS = 64 * 2**20  # bytes that any archive of arrays may unpack to, beyond that

PARSED = 16  # bytes that parsed text may take, per byte of the text
PARSED_ALWAYS = 128 * 2**20  # bytes that any parsed text may take
# bytes that elements of JSON take in CPython; a comma stands for a number and its place in an array
_JSON_COSTS = {'[': 120, '{': 250, ',': 48, '"': 16}


def open_regular(path: str | os.PathLike) -> IO[bytes]:
    """Open a file for reading; a pipe, a device or a folder is refused, as it could block forever.

    Raises:
        OSError: if it cannot be opened, or is not a regular file.
    """
    file = open(path, 'rb', opener=_open_without_waiting)  # noqa: SIM115  the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, 'is a pipe or a device, not a regular file', os.fspath(path))
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to is opened at once."""
    return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))  # Windows has no such flag


def open_text(path: str | os.PathLike) -> IO[str]:
    """Open a regular file of UTF-8 text; bytes that are not UTF-8 are replaced."""
    return io.TextIOWrapper(open_regular(path), encoding='utf-8', errors='replace')


def is_own_file(path: str, folder: str) -> bool:
    """Return whether a path is a regular file below a folder, and not a link to one elsewhere."""
    inside = os.path.join(os.path.realpath(folder), '')
    return os.path.isfile(path) and os.path.realpath(path).startswith(inside)


def read_json(path: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: if it is not JSON, or nested too deeply.
    """
    with open_regular(path) as file:
        return parse_json(file.read())


def parse_json(content: str | bytes, **kwargs: Any) -> Any:
    """Return the content of JSON text.

    Args:
        content: the text.
        **kwargs: arguments of :func:`json.loads`.

    Raises:
        ValueError: if it is not JSON, nested too deeply, or would take more memory than
            :data:`PARSED` allows.
    """
    if isinstance(content, bytes):
        content = content.decode(json.detect_encoding(content), 'surrogatepass')
    cost = sum(cost * content.count(mark) for mark, cost in _JSON_COSTS.items())
    if cost > PARSED * len(content) + PARSED_ALWAYS:
        raise ValueError(
            f'it has {len(content)} characters and would take {cost / 2**20:.0f} MB; the limit is '
            f'{PARSED} times its size and {PARSED_ALWAYS // 2**20} MB more. Save arrays as .npy'
        )
    try:
        return json.loads(content, **kwargs)
    except RecursionError as error:
        raise ValueError('it is nested too deeply') from error


def is_piecewise(member: zipfile.ZipInfo) -> bool:
    """Return whether a member of an archive is unpacked in bounded pieces.

    Compression methods other than deflate may return any amount of data at once.
    """
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse a zip archive that could take much more memory than its size suggests.

    Args:
        archive: the archive.
        size: size of its file in bytes.

    Raises:
        BadZipFile: if it is larger than the limits when unpacked, or compressed by a method other
            than deflate.
    """
    members = archive.infolist()
    if not all(map(is_piecewise, members)):
        raise zipfile.BadZipFile('it is compressed by a method other than deflate')
    if sum(member.file_size for member in members) > MAX_RATIO * size + ALWAYS:
        raise zipfile.BadZipFile(
            f'it is more than {MAX_RATIO} times as large when unpacked, and {ALWAYS // 2**20} MB'
        )


@contextmanager
def atomic_folder(path: str) -> Iterator[str]:
    """Fill a temporary folder, which is renamed to ``path`` at the end and removed after an error.

    Only one process at a time may write it: leftovers of a killed process are deleted.

    Args:
        path: the folder, which must be missing or empty.
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
    """Check that a file or folder can be written.

    Args:
        path: path of the file or folder, which may be missing.
        folder: whether it is a folder.

    Raises:
        OSError: if it cannot be written; the message says why.
    """
    target = os.path.abspath(path)
    if os.path.isdir(target) and not folder:
        raise IsADirectoryError(f'{path!r} is a folder; give the name of a file')

    existing = target if folder else os.path.dirname(target)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise NotADirectoryError(
            f'{path!r} cannot be written: {existing!r} is a file, not a folder; give another path'
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(
            f'{path!r} cannot be written: there is no permission to write in {existing!r}; give '
            'another path'
        )


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Add the file name to errors of a full or broken disk, which lack it."""
    try:
        yield
    except OSError as error:
        disk_errors = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        if error.filename is None and error.errno in disk_errors:
            raise OSError(error.errno, error.strerror, path) from error
        raise


@contextmanager
def atomic_write(path: str, mode: str = 'w') -> Iterator[IO]:
    """Write a temporary file, which is renamed to ``path`` at the end and removed after an error.

    A device or a pipe, such as /dev/stdout, is written directly.

    Args:
        path: path of the file; its folder is created if missing.
        mode: ``w`` for UTF-8 text, ``wb`` for bytes. What is not UTF-8, in names of files, is
            escaped in text.

    Raises:
        OSError: if it cannot be written, see :func:`check_target`.
    """
    text = {} if 'b' in mode else dict(encoding='utf-8', errors='backslashreplace')
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with named_errors(path), open(path, mode, **text) as file:
            yield file
        return

    check_target(path)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with named_errors(path), open(temporary, mode, **text) as file:
            yield file
            file.flush()
            # without it a crash of the machine could leave the new name with an empty file
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
