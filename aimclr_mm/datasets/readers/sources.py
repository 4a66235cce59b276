"""Access to original files: in folders and in zip archives, as they are downloaded."""

from __future__ import annotations

import fnmatch
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aimclr_mm.utils.files import is_piecewise, open_regular

MAX_BYTES = 256 * 2**20
MAX_GROWTH = 24 * 2**20  # bytes that a file may unpack to, beyond its packed size
_READ_ERRORS = (
    OSError,
    KeyError,
    RuntimeError,
    NotImplementedError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


class RecordingError(ValueError):
    """A recording cannot be used.

    The message says where in the file and why; the caller adds the name of the file.
    """


def check_unpacked(size: int, packed: int) -> None:
    """Raise RecordingError if a file is much larger than it is packed; parsing multiplies that.

    Args:
        size, packed: unpacked and packed size in bytes.
    """
    if size > packed + MAX_GROWTH:
        raise RecordingError(
            f'has {packed} bytes, which unpack to {size} or more; the limit is '
            f'{MAX_GROWTH // 2**20} MB more than they are. Unpack it yourself if you trust it'
        )


@dataclass(frozen=True)
class SourceFile:
    """A file in a folder or in a zip archive.

    Args:
        path: path of the file, or of the archive that contains it.
        name: name relative to the source, with ``/``.
        size: unpacked size in bytes.
        stamp: modification time in ns, of the archive for archived files.
        archived: whether the file is the member ``name`` of the archive ``path``.
    """

    path: str
    name: str
    size: int
    stamp: int
    archived: bool = False

    @classmethod
    def of(cls, path: str, name: str) -> SourceFile:
        """Describe a file that is not in an archive."""
        status = os.stat(path)
        return cls(path, name, status.st_size, status.st_mtime_ns)

    @property
    def stem(self) -> str:
        """Name without folders and the last extension."""
        return os.path.splitext(os.path.basename(self.name))[0]

    @property
    def folder(self) -> str:
        """Name of the folder that contains the file; empty at the top of the source."""
        return os.path.basename(os.path.dirname(self.name))

    def __str__(self) -> str:
        return f'{self.path}:{self.name}' if self.archived else self.path

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """Return the content.

        Raises:
            RecordingError: if it is larger than ``limit`` bytes or cannot be read.
        """
        if self.size > limit:
            raise RecordingError(f'has {self.size} bytes; the limit is {limit}')

        # one byte more than expected is enough to notice a wrong size
        try:
            if self.archived:
                content = self._unpack(self.size + 1)
            else:
                with open_regular(self.path) as file:
                    content = file.read(self.size + 1)
        except _READ_ERRORS as error:
            raise RecordingError(f'cannot be read ({error})') from error

        if len(content) != self.size:
            comparison = 'more' if len(content) > self.size else 'fewer'
            raise RecordingError(f'has {comparison} bytes than the {self.size} of its entry')
        return content

    def _unpack(self, limit: int) -> bytes:
        """Return the first ``limit`` bytes of an archived file."""
        archive = _open_archive(self.path, os.getpid())
        member = archive.getinfo(self.name)
        if not is_piecewise(member):
            raise RecordingError(
                'is compressed by a method other than deflate; unpack the archive and give the '
                'folder'
            )
        check_unpacked(self.size, min(member.compress_size, os.path.getsize(self.path)))
        with archive.open(self.name) as file:
            return file.read(limit)


@lru_cache(maxsize=4)
def _open_archive(path: str, _process: int) -> zipfile.ZipFile:
    """Open an archive once per process; forked processes must not share the file position."""
    return zipfile.ZipFile(path)


def _list_folder(folder: str) -> Iterator[SourceFile]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(root, name)
            if os.path.isfile(path):
                yield SourceFile.of(path, os.path.relpath(path, folder).replace(os.sep, '/'))


def _list_archive(path: str) -> Iterator[SourceFile]:
    try:
        members = _open_archive(path, os.getpid()).infolist()
    except (OSError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'{path!r} is not a readable zip archive ({error}); download it again'
        ) from error

    stamp = os.stat(path).st_mtime_ns
    for member in sorted(members, key=lambda m: m.filename):
        name = member.filename  # may be empty in a damaged archive
        if name and not name.endswith('/') and not name.startswith('__MACOSX/'):
            yield SourceFile(path, name, member.file_size, stamp, archived=True)


def _list_source(source: str) -> Iterator[SourceFile]:
    """Yield the files of a folder, an archive or a single file; archives in folders are opened."""
    if os.path.isdir(source):
        files = _list_folder(source)
    elif os.path.isfile(source):
        files = iter([SourceFile.of(source, os.path.basename(source))])
    else:
        raise FileNotFoundError(
            f'{source!r} does not exist; give the folder or the zip archive of the download'
        )

    for file in files:
        if file.name.lower().endswith('.zip'):
            yield from _list_archive(file.path)
        else:
            yield file


def list_files(sources: Sequence[str], pattern: str = '*') -> list[SourceFile]:
    """List the files of folders and zip archives, including archives inside folders.

    Args:
        sources: folders, zip archives or single files.
        pattern: shell pattern of the file names. Hidden files are left out; archives are opened
            whatever their name.

    Raises:
        FileNotFoundError: if a source does not exist.
        ValueError: if an archive cannot be opened.
    """
    files = [file for source in sources for file in _list_source(source)]
    return [
        file
        for file in files
        if fnmatch.fnmatch(name := os.path.basename(file.name), pattern)
        and not name.startswith('.')
    ]
