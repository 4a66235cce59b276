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
