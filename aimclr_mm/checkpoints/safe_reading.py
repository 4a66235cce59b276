"""Safe reading of checkpoint files: a scan of the pickle, then ``torch.load(weights_only=True)``.

``weights_only=True`` runs no code from the file, but a small file can still exhaust the memory
(compressed records, or an allocation of any size without content) or crash the process (a dict key
of deeply nested tuples). The scan refuses such files.
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

from aimclr_mm.utils.pickles import ArrayUnpickler, Function

from .shipped import shipped_weights

_ALLOCATES = re.compile(r'torch(\.\w+)*\.(\w*Tensor|\w*Storage|Parameter)')
# of torch's legacy format: magic number, protocol, system info, content, keys of the storages
_LEGACY_PICKLES = 5


def load_checkpoint_file(filename: str, map_location: Any = 'cpu') -> dict:
    """Load a checkpoint without running any code that it may contain.

    ``meta.config`` is dropped: mmengine's ``Runner.resume`` would run its text as a Python config.

    Args:
        filename: path of the file, or the name of a shipped encoder.
        map_location: see :func:`torch.load`.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not a checkpoint, is damaged, or holds objects other than
            tensors, numbers, text and containers of them.
    """
    filename = shipped_weights(os.path.expanduser(filename))
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
            f'checkpoint {filename!r} cannot be read ({error!r}): the file is damaged, truncated '
            'or not a checkpoint'
        ) from error

    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'checkpoint {filename!r} holds a {type(checkpoint).__name__}, not a dict of tensors'
        )
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def load_checkpoint_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> dict:
    """Download a checkpoint, unless it was downloaded before, and load it safely.

    Args:
        url: http or https URL.
        model_dir: download folder (default: torch.hub's).
        map_location, progress: see ``torch.hub.load_state_dict_from_url``.
    """
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    path = os.path.join(folder, os.path.basename(urlparse(url).path))
    if not os.path.isfile(path):
        os.makedirs(folder, exist_ok=True)
        torch.hub.download_url_to_file(url, path, progress=progress)
    return load_checkpoint_file(path, map_location)


def check_checkpoint(path: str) -> None:
    """Scan a checkpoint file for content that could harm the process while torch reads it.

    Raises:
        UnpicklingError, BadZipFile or another error: if there is such content, or the file is
            damaged.
    """
    with open(path, 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        is_archive = file.read(4) == b'PK\x03\x04'
        file.seek(0)
        if is_archive:
            _check_archive(file, size)
            return
        for _ in range(_LEGACY_PICKLES):
            _Scanner(file, size).load()


def _check_archive(file: IO[bytes], size: int) -> None:
    """Scan the pickles of an archive, whose records must be stored uncompressed."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if compressed or sum(member.file_size for member in members) > size:
            raise pickle.UnpicklingError('its records are compressed; those of torch never are')

        for member in members:
            if os.path.basename(member.filename) == 'data.pkl':
                _Scanner(io.BytesIO(archive.read(member)), member.file_size).load()


class _Opaque:
    """Placeholder of a tensor, or of an object that torch will refuse."""

    __hash__ = None


class _Scanner(ArrayUnpickler):
    """Build the containers of a checkpoint, with placeholders for everything else."""

    def find_class(self, module: str, name: str) -> Function:
        """Return the function for a container, or one that makes a placeholder."""
        if (module, name) == ('collections', 'Counter'):
            return Function(self._counter)
        if (module, name) in self.functions and not module.startswith('numpy'):
            return super().find_class(module, name)

        def placeholder(*_: Any) -> _Opaque:
            if _ALLOCATES.fullmatch(f'{module}.{name}'):
                raise pickle.UnpicklingError(
                    f'it allocates a {module}.{name} of a size that it only names'
                )
            return _Opaque()

        return Function(placeholder)

    def persistent_load(self, pid: Any) -> _Opaque:
        """Return the placeholder of a storage; torch uses its key in a dict."""
        self.check_keys(list(pid[2:]) if isinstance(pid, tuple) else [pid])
        return _Opaque()

    def build(self, value: Any, state: Any) -> None:
        """Ignore the state of an object."""

    def complete(self, value: Any) -> Any:
        """Accept any value."""
        return value

    def _counter(self, counts: dict | None = None) -> dict:
        if type(counts or {}) is not dict:
            raise pickle.UnpicklingError('it holds a Counter of something other than a dict')
        return dict(counts or {})

    def _load_newobj(self) -> None:
        self.stack[-2:] = [_Opaque()]

    dispatch = {**ArrayUnpickler.dispatch, pickle.NEWOBJ[0]: _load_newobj}
