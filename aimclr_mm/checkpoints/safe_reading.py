"""Safe reading of checkpoint files of torch, in both of its formats.

Nothing in a file is executed, and ``torch.load`` is not called: it finds the records of an archive
in another way than a scan before it would, does not verify their checksums and believes the sizes
that the file names. The file is read once, by :mod:`.archive` and :mod:`.unpickling`.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import urllib.error
import urllib.request
from functools import partial
from hashlib import sha256
from typing import IO, Any
from urllib.parse import urldefrag, urlparse

import torch

from aimclr_mm.utils.files import atomic_write, open_regular

from .archive import Archive
from .shipped import shipped_weights
from .unpickling import CheckpointUnpickler

# first two values of torch's format before version 1.6
_LEGACY = (0x1950A86A20F9469CFC6C, 1001)
_PATHS = ('best_ckpt', 'last_ckpt')  # begin the names of paths that mmengine stores
_BLOCK = 2**20  # bytes of a download at a time
_TIMEOUT = 60  # seconds without an answer


def load_checkpoint_file(filename: str, map_location: Any = 'cpu', tensors: bool = True) -> dict:
    """Load a checkpoint without running any code that it may contain, and verify its checksums.

    What mmengine would run or delete is dropped: ``meta.config``, the text of a Python config, and
    the paths of other checkpoints in ``message_hub``, of which only the file names are kept.

    Args:
        filename: path of the file, or the name of a shipped encoder.
        map_location: ignored; tensors are on the CPU, and whoever loads them copies them.
        tensors: whether to read the tensors; else they are on torch's device ``meta``.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not a checkpoint, is damaged, or holds objects other than
            tensors, numbers, text and containers of them.
    """
    filename = shipped_weights(os.path.expanduser(filename))
    if not os.path.exists(filename):
        raise FileNotFoundError(f'checkpoint {filename!r} does not exist')
    if os.path.isdir(filename):
        raise IsADirectoryError(
            f'checkpoint {filename!r} is a folder; give a file, such as epoch_300.pth in it'
        )

    with open_regular(filename) as file:
        checkpoint = _read_checked(file, filename, tensors)
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'checkpoint {filename!r} holds a {type(checkpoint).__name__}, not a dict of tensors'
        )
    _drop_code_and_paths(checkpoint)
    return checkpoint


def _drop_code_and_paths(checkpoint: dict) -> None:
    """Remove a config, and reduce paths to ``name_of_...``, in place."""
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)

    hub = checkpoint.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, dict) else None
    keys = hub.get('resumed_keys') if isinstance(hub, dict) else None
    for key in [key for key in info if str(key).startswith(_PATHS)] if type(info) is dict else ():
        path = info.pop(key)
        if isinstance(keys, dict):
            keys.pop(key, None)
        if isinstance(path, str) and key.startswith('best'):
            info[f'name_of_{key}'] = re.split(r'[/\\]', path)[-1]


def _read_checked(file: IO[bytes], filename: str, tensors: bool) -> Any:
    """Return the content of a checkpoint; raise ValueError, naming the file, for any error."""
    size = os.fstat(file.fileno()).st_size
    is_archive = file.read(2) == b'PK'
    file.seek(0)
    try:
        return (_read_archive if is_archive else _read_legacy)(file, size, tensors)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'checkpoint {filename!r} is damaged or holds objects other than plain tensors and '
            f'containers, which are not loaded for safety ({error})'
        ) from error
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(
            f'checkpoint {filename!r} cannot be read ({error!r}): the file is damaged, truncated '
            'or not a checkpoint'
        ) from error


def _read_archive(file: IO[bytes], size: int, tensors: bool) -> Any:
    archive = Archive(file, size)
    if 'byteorder' in archive and archive.read('byteorder') != b'little':
        raise pickle.UnpicklingError('it was written on a machine of another byte order')

    def find_memory(key: str, length: int) -> bytearray:
        if archive.size(f'data/{key}') != length:
            raise pickle.UnpicklingError(f'its record data/{key} does not have {length} bytes')
        return archive.read(f'data/{key}') if length else bytearray()

    pickled = archive.read('data.pkl')
    find = find_memory if tensors else None
    return CheckpointUnpickler(io.BytesIO(pickled), size, find).load()


def _read_legacy(file: IO[bytes], size: int, tensors: bool) -> Any:
    """Read five pickles, of which the last lists the storages that follow."""
    if tuple(CheckpointUnpickler(file, size).load() for _ in _LEGACY) != _LEGACY:
        raise pickle.UnpicklingError('it is not a file of torch')
    if not CheckpointUnpickler(file, size).load()['little_endian']:
        raise pickle.UnpicklingError('it was written on a machine of another byte order')

    left = size

    def find_memory(_key: str, length: int) -> bytearray:
        nonlocal left
        left -= length
        if left < 0:
            raise pickle.UnpicklingError('it names more numbers than it has bytes')
        return bytearray(length)

    unpickler = CheckpointUnpickler(file, size, find_memory if tensors else None)
    content = unpickler.load()
    keys = CheckpointUnpickler(file, size).load()
    if sorted(keys) != sorted(unpickler.storages):
        raise pickle.UnpicklingError('it does not hold the storages of its tensors')

    for key in keys if tensors else ():
        storage = unpickler.storages[key]
        length = int.from_bytes(file.read(8), 'little')
        if length != storage.length or file.readinto(storage.memory) < len(storage.memory):
            raise pickle.UnpicklingError(
                f'its storage {key} does not have {storage.length} numbers'
            )
    if tensors and file.read(1):
        raise pickle.UnpicklingError('there is something after its storages')
    return content


def load_checkpoint_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> dict:
    """Download a checkpoint, unless it was downloaded before, and load it safely.

    The file is kept under a name that belongs to the whole address. A checksum is verified where
    there is one: ``#sha256=...`` at the end of the address, or its first digits at the end of the
    file name (``name-1a2b3c4d.pth``), as torch.hub and OpenMMLab write it.

    Args:
        url: http or https URL.
        model_dir: download folder (default: torch.hub's).
        map_location, progress: ignored.

    Raises:
        ValueError: if the download is incomplete, has another checksum or cannot be loaded; it is
            not kept then.
    """
    address, fragment = urldefrag(url)
    name = os.path.basename(urlparse(address).path)
    key = sha256(address.encode()).hexdigest()[:16]
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    path = os.path.join(folder, f'{key}-{name[-100:]}')

    if not os.path.isfile(path):
        try:
            _download(address, path)
        except urllib.error.URLError as error:
            raise OSError(f'{address} cannot be downloaded: {error}') from error
        except TimeoutError as error:
            raise OSError(f'{address} did not answer for {_TIMEOUT} s: try again') from error
    try:
        _check_sum(path, name, fragment)
        return load_checkpoint_file(path)
    except ValueError as error:
        os.remove(path)
        raise ValueError(f'{url}: {error}. The download is deleted') from error


def _download(address: str, path: str) -> None:
    """Write the content of an address to a file.

    Raises:
        OSError: if it is incomplete or cannot be reached.
    """
    with (
        urllib.request.urlopen(address, timeout=_TIMEOUT) as response,
        atomic_write(path, 'wb') as file,
    ):
        for block in iter(partial(response.read, _BLOCK), b''):
            file.write(block)
        length, announced = file.tell(), response.headers.get('Content-Length')
        if announced is not None and length != int(announced):
            raise OSError(
                f'{address} has {announced} bytes, of which {length} have arrived: try again'
            )


def _check_sum(path: str, name: str, fragment: str) -> None:
    """Raise ValueError if a download has another checksum than its address says."""
    stated = re.search(r'-([0-9a-f]{8,64})\.\w+$', name)
    expected = fragment.removeprefix('sha256=') if fragment else stated and stated.group(1)
    if not expected:
        return
    digest = sha256()
    with open_regular(path) as file:
        for block in iter(partial(file.read, _BLOCK), b''):
            digest.update(block)
    if not digest.hexdigest().startswith(expected.lower()):
        raise ValueError(
            f'its SHA-256 checksum is {digest.hexdigest()}, but the address says {expected}; if '
            'the file is the right one all the same, download it yourself and give its path'
        )
