"""A look at a checkpoint file before torch reads it.

``torch.load(weights_only=True)`` runs no code of the file, but a small file can still take all memory (an array of a
size that is only named, records that are compressed) or end the process (a key of deeply nested tuples).
"""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from typing import IO, Any
from urllib.parse import urlparse

import torch

from aimclr_mm.utils.pickles import ArrayMachine, Function

_ALLOCATES = re.compile(r'torch(\.\w+)*\.(\w*Tensor|\w*Storage|Parameter)')
_PICKLES = 5  # of torch's older format: magic number, protocol, about the machine, content, keys of storages


class _Opaque:
    """Stands for a tensor, or for what torch will refuse."""

    __hash__ = None


class _Scan(ArrayMachine):
    """Goes through the containers of a checkpoint and calls nothing but what makes containers."""

    def find_class(self, module: str, name: str) -> Function:
        """Containers are made, everything else is a stand-in."""
        if (module, name) == ('collections', 'Counter'):
            return Function(self._counter)
        if (module, name) in self.functions and not module.startswith('numpy'):
            return super().find_class(module, name)

        def stand_in(*_: Any) -> _Opaque:
            if _ALLOCATES.fullmatch(f'{module}.{name}'):
                raise pickle.UnpicklingError(
                    f'it makes a {module}.{name} of a size that it only names'
                )
            return _Opaque()

        return Function(stand_in)

    def persistent_load(self, pid: Any) -> _Opaque:
        """A storage; its key will be looked up."""
        self.check_keys(list(pid[2:]) if isinstance(pid, tuple) else [pid])
        return _Opaque()

    def build(self, value: Any, state: Any) -> None:
        """The state of anything is let pass."""

    def complete(self, value: Any) -> Any:
        """What is no container is let pass."""
        return value

    def _counter(self, counts: dict | None = None) -> dict:
        if type(counts or {}) is not dict:
            raise pickle.UnpicklingError('it counts what is no dict')
        return dict(counts or {})

    def _load_newobj(self) -> None:
        self.stack[-2:] = [_Opaque()]

    dispatch = {**ArrayMachine.dispatch, pickle.NEWOBJ[0]: _load_newobj}


def check_checkpoint(path: str) -> None:
    """Raises UnpicklingError, BadZipFile or another error if a checkpoint file could do harm while torch reads it."""
    with open(path, 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        is_archive = file.read(4) == b'PK\x03\x04'
        file.seek(0)
        if is_archive:
            _check_archive(file, size)
            return
        for _ in range(_PICKLES):
            _Scan(file, size).load()


def _check_archive(file: IO[bytes], size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members) or (
            sum(member.file_size for member in members) > size
        ):
            raise pickle.UnpicklingError(
                'its records are compressed, which those of torch never are'
            )
        for member in members:
            if os.path.basename(member.filename) == 'data.pkl':
                _Scan(io.BytesIO(archive.read(member)), member.file_size).load()


def load_checkpoint_file(filename: str, map_location: Any = 'cpu') -> dict:
    """Reads a checkpoint without running any code that it may contain.

    Args:
        filename: path of the file.
        map_location: as for :func:`torch.load`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no checkpoint, is damaged, or holds objects other than tensors, numbers, text
            and containers of them.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'checkpoint {filename!r} does not exist')
    try:
        check_checkpoint(filename)
        checkpoint = torch.load(filename, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f'checkpoint {filename!r} is damaged or holds objects other than plain tensors and '
            f'containers, which are not loaded for safety ({reason})'
        ) from error
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(
            f'checkpoint {filename!r} cannot be read ({error!r}): the file is damaged, '
            'cut short or no checkpoint'
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'checkpoint {filename!r} holds a {type(checkpoint).__name__}, not a dict of tensors'
        )
    return checkpoint


def load_checkpoint_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> dict:
    """Downloads a checkpoint, once, and reads it by :func:`load_checkpoint_file`.

    Args:
        url: http or https.
        model_dir: folder of downloads; torch's if not given.
        map_location, progress: as for ``torch.hub.load_state_dict_from_url``.
    """
    name = os.path.basename(urlparse(url).path)
    path = os.path.join(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'), name)
    if not os.path.isfile(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        torch.hub.download_url_to_file(url, path, progress=progress)
    return load_checkpoint_file(path, map_location)
