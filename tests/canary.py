"""Watch side effects of reading a file with Python's audit events."""

import io
import os
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

TEMPORARY = Path(tempfile.gettempdir())
RUNS = (
    'os.system',
    'os.exec',
    'os.posix_spawn',
    'os.fork',
    'os.forkpty',
    'subprocess.Popen',
    'pty.spawn',
    'socket.connect',
    'socket.bind',
    'urllib.Request',
    'ctypes.dlopen',
    'pickle.find_class',
    'code.__new__',
    'webbrowser.open',
    'os.putenv',
)
CHANGES = (
    'os.remove',
    'os.rename',
    'os.rmdir',
    'os.mkdir',
    'os.link',
    'os.symlink',
    'os.truncate',
    'os.chmod',
    'shutil.rmtree',
    'shutil.move',
    'shutil.copyfile',
    'shutil.unpack_archive',
)
LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ('stdlib', 'purelib', 'platlib')} | {'<frozen'}
)
# writable folder and recorded events; an audit hook cannot be removed
_watching: list = []


def _hook(event: str, args: tuple) -> None:
    if _watching:
        folder, seen = _watching
        if (
            event in RUNS
            or event == 'exec'
            and _is_foreign(args[0])
            or (event in CHANGES or event == 'open' and _writes(*args[1:]))
            and _is_outside(event, args, folder)
        ):
            seen.append((event, str(args)[:200]))


def _is_foreign(code: object) -> bool:
    """Return whether code is not that of a library, which may be imported late."""
    return not str(getattr(code, 'co_filename', '')).startswith(LIBRARIES)


def _writes(mode: str | None, flags: object) -> bool:
    return (
        bool(set(mode or '') & set('wax+'))
        or isinstance(flags, int)
        and bool(flags & (os.O_WRONLY | os.O_RDWR))
    )


def _is_outside(event: str, args: tuple, folder: Path) -> bool:
    path = args[0]
    if not isinstance(path, (str, bytes, os.PathLike)):  # a number of an open file
        return False
    path = Path(os.fsdecode(path))
    if event in ('os.remove', 'os.rmdir'):
        if args[1] >= 0:  # relative to an open folder
            path = Path(f'/proc/self/fd/{args[1]}') / path
        path = path.parent  # of a link the link itself is removed
    return not path.resolve().is_relative_to(folder)


sys.addaudithook(_hook)


@contextmanager
def watch(folder: Path) -> Iterator[list]:
    """Record events of code that runs and of files that change outside of a folder."""
    seen: list = []
    _watching[:] = [folder.resolve(), seen]
    try:
        yield seen
    finally:
        _watching.clear()


class Payload:
    """Pickles as a call."""

    def __init__(self, function, *args) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def payload(mark: Path) -> Payload:
    """A pickle that makes the mark."""
    return Payload(os.system, f'touch {mark}')


def refused(function: Callable, *args, match: str = '', **kwargs) -> str:
    """Assert that a call is refused and runs nothing; return the message."""
    with (
        watch(TEMPORARY) as seen,
        pytest.raises((ValueError, FileNotFoundError), match=match) as error,
    ):
        function(*args, **kwargs)
    assert not seen
    return str(error.value)


def saved(content, **options) -> bytes:
    """A checkpoint as torch writes it."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def archive_of(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """A .npz file of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, content in members.items():
            archive.writestr(f'{name}.npy', content)
    return file.getvalue()
