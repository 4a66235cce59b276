"""Where original files come from: folders and zip archives, as they are downloaded."""

from __future__ import annotations

import fnmatch
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aimclr_mm.utils.files import is_piecewise

MAX_BYTES = 256 * 2**20


class RecordingError(ValueError):
    """A recording that cannot be used. The message says where in the file and why; the file is named by who reports."""


@dataclass(frozen=True)
class SourceFile:
    """A file in a folder or in a zip archive.

    Args:
        path: the file, or the archive that holds it.
        name: its name relative to the source, with ``/``.
        size: bytes, unpacked.
        stamp: time of the last change in ns, of the archive for what is in one.
        archived: whether it lies in the archive ``path`` under ``name``.
    """

    path: str
    name: str
    size: int
    stamp: int
    archived: bool = False

    @classmethod
    def of(cls, path: str, name: str) -> SourceFile:
        """A file that lies in no archive."""
        status = os.stat(path)
        return cls(path, name, status.st_size, status.st_mtime_ns)

    @property
    def stem(self) -> str:
        """Name without folders and the last extension."""
        return os.path.splitext(os.path.basename(self.name))[0]

    def __str__(self) -> str:
        return f'{self.path}:{self.name}' if self.archived else self.path

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """The content.

        Raises:
            RecordingError: if it is larger than ``limit`` bytes or cannot be read.
        """
        if self.size > limit:
            raise RecordingError(f'has {self.size} bytes; the limit is {limit}')
        try:
            if not self.archived:
                with open(self.path, 'rb') as file:
                    content = file.read(self.size + 1)
            else:
                content = self._unpack()
        except (
            OSError,
            KeyError,
            RuntimeError,
            NotImplementedError,
            EOFError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise RecordingError(f'cannot be read ({error})') from error
        if len(content) != self.size:
            raise RecordingError(
                f'has {"more" if len(content) > self.size else "fewer"} bytes than the {self.size} of '
                'its entry'
            )
        return content

    def _unpack(self) -> bytes:
        """The content of a file in an archive, at most one byte more than it should have."""
        archive = _archive(self.path, os.getpid())
        if not is_piecewise(archive.getinfo(self.name)):
            raise RecordingError(
                'is compressed by a method other than deflate; unpack the archive and give the folder'
            )
        with archive.open(self.name) as file:
            return file.read(self.size + 1)


@lru_cache(maxsize=4)
def _archive(path: str, _process: int) -> zipfile.ZipFile:
    """The open archive, once for each process: a forked one must not share the place in the file."""
    return zipfile.ZipFile(path)


def _in_folder(folder: str) -> Iterator[SourceFile]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(root, name)
            if os.path.isfile(path):
                yield SourceFile.of(path, os.path.relpath(path, folder).replace(os.sep, '/'))


def _in_archive(path: str) -> Iterator[SourceFile]:
    try:
        members = _archive(path, os.getpid()).infolist()
    except (OSError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'{path!r} is no readable zip archive ({error}); download it again'
        ) from error
    stamp = os.stat(path).st_mtime_ns
    for member in sorted(members, key=lambda m: m.filename):
        name = member.filename  # a damaged archive may have an empty one
        if name and not name.endswith('/') and not name.startswith('__MACOSX/'):
            yield SourceFile(path, name, member.file_size, stamp, archived=True)


def list_files(sources: Sequence[str], pattern: str = '*') -> list[SourceFile]:
    """The files of folders and zip archives, also of archives that lie in a folder.

    Args:
        sources: folders, zip archives or single files.
        pattern: shell pattern that the names of the files match; archives are looked into whatever their name.

    Raises:
        FileNotFoundError: for a source that does not exist.
        ValueError: for an archive that cannot be opened.
    """
    found = []
    for source in sources:
        if os.path.isdir(source):
            files = list(_in_folder(source))
        elif os.path.isfile(source):
            files = [SourceFile.of(source, os.path.basename(source))]
        else:
            raise FileNotFoundError(
                f'{source!r} does not exist; give the folder or the zip archive of the download'
            )
        for file in files:
            if file.name.lower().endswith('.zip'):
                found += _in_archive(file.path)
            else:
                found.append(file)
    names = [os.path.basename(file.name) for file in found]
    return [
        file
        for file, name in zip(found, names)
        if fnmatch.fnmatch(name, pattern) and not name.startswith('.')
    ]
