"""Restricted unpickler for checkpoints: tensors, numbers, text and containers."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import torch
from torch import Tensor

from aimclr_mm.utils.pickles import ArrayUnpickler

# by their names in a pickle
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_STORAGES = dict(
    DoubleStorage=torch.float64,
    FloatStorage=torch.float32,
    HalfStorage=torch.float16,
    BFloat16Storage=torch.bfloat16,
    LongStorage=torch.int64,
    IntStorage=torch.int32,
    ShortStorage=torch.int16,
    CharStorage=torch.int8,
    ByteStorage=torch.uint8,
    BoolStorage=torch.bool,
    ComplexDoubleStorage=torch.complex128,
    ComplexFloatStorage=torch.complex64,
)
_TENSOR = 400  # bytes that a tensor or a storage takes beside its numbers
_QUANTIZED = {
    dtype for dtype in _DTYPES.values() if str(dtype).startswith(('torch.q', 'torch.bits'))
}


@dataclass(frozen=True)
class Storage:
    """Memory of tensors.

    Args:
        memory: its bytes; None if they are not read.
        length: number of elements.
        dtype: their type.
    """

    memory: bytearray | None
    length: int
    dtype: torch.dtype


class CheckpointUnpickler(ArrayUnpickler):
    """Unpickle a checkpoint; tensors are on the CPU and need no gradient.

    Args:
        file, size: see :class:`~aimclr_mm.utils.pickles.RestrictedUnpickler`.
        find_memory: returns the memory of a storage, given its key and its size in bytes; None for
            tensors without memory, on torch's device ``meta``.
    """

    def __init__(
        self, file: IO[bytes], size: int, find_memory: Callable[[str, int], bytearray] | None = None
    ) -> None:
        super().__init__(file, size)
        self.storages: dict[str, Storage] = {}
        self._find_memory = find_memory
        self.functions = {
            **self.functions,
            ('collections', 'Counter'): self._counter,
            ('torch', 'Size'): self._size,
            ('torch', 'device'): self._device,
            ('torch._utils', '_rebuild_tensor'): self._tensor,
            ('torch._utils', '_rebuild_tensor_v2'): self._tensor,
            ('torch._utils', '_rebuild_tensor_v3'): self._untyped_tensor,
            ('torch._utils', '_rebuild_parameter'): self._parameter,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return a type of numbers, or the function of this name from the table."""
        if (module, name) == ('torch.storage', 'UntypedStorage'):
            return torch.uint8
        if module == 'torch' and name in _DTYPES:
            return _DTYPES[name]
        if module == 'torch' and name in _STORAGES:
            return _STORAGES[name]
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage of a tensor: ``('storage', type, key, device, length, ...)``."""
        kind, dtype, key, _, length, *view = pid
        if kind not in ('storage', b'storage') or any(part is not None for part in view):
            raise pickle.UnpicklingError('it holds views of storages, as torch 0.3 wrote them')
        if not isinstance(dtype, torch.dtype) or dtype in _QUANTIZED or type(key) is not str:
            raise pickle.UnpicklingError('it holds quantized tensors')
        if type(length) is not int or length < 0:
            raise pickle.UnpicklingError(f'it holds a tensor with {str(length)[:40]} elements')

        storage = self.storages.get(key)
        if storage is None:
            self.charge(_TENSOR)
            size = length * dtype.itemsize
            memory = self._find_memory(key, size) if self._find_memory else None
            storage = self.storages[key] = Storage(memory, length, dtype)
        if (storage.length, storage.dtype) != (length, dtype):
            raise pickle.UnpicklingError(f'it holds a storage {key[:40]!r} of two sizes')
        return storage

    def build(self, value: Any, state: Any) -> None:
        """Ignore the versions of modules, which torch attaches to a state dict."""
        if type(value) is dict and type(state) is dict and list(state) == ['_metadata']:
            return
        super().build(value, state)

    def complete(self, value: Any) -> Any:
        """Return the final value of a non-container."""
        if isinstance(value, Storage):
            raise pickle.UnpicklingError('it holds a storage without a tensor')
        return super().complete(value)

    def _tensor(
        self, storage: Storage, offset: int, size: tuple, stride: tuple, *rest: Any
    ) -> Tensor:
        """Return a tensor that lies within its storage."""
        if type(storage) is not Storage or any(rest[2:]):
            raise pickle.UnpicklingError('it holds tensors that are not plain')
        places = [offset, *size, *stride]
        if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in places):
            raise pickle.UnpicklingError('it holds a tensor without a shape')

        self.charge(_TENSOR)
        elements = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if elements else -1
        if last >= storage.length:
            raise pickle.UnpicklingError(f'a tensor of shape {size} has too few numbers')
        if elements > storage.length:  # numbers that are used several times
            self.charge(elements * storage.dtype.itemsize)

        if storage.memory is None:
            return torch.empty_strided(size, stride, dtype=storage.dtype, device='meta')
        if not elements:
            return torch.empty(size, dtype=storage.dtype)
        return torch.frombuffer(storage.memory, dtype=storage.dtype).as_strided(
            size, stride, offset
        )

    def _untyped_tensor(
        self, storage: Storage, offset: int, size: tuple, stride: tuple, *rest: Any
    ) -> Tensor:
        """Return a tensor of a type that has no storage of its own."""
        _, _, dtype, *metadata = rest
        if type(storage) is not Storage or dtype not in _DTYPES.values():
            raise pickle.UnpicklingError('it holds tensors that are not plain')
        length = storage.length * storage.dtype.itemsize // dtype.itemsize
        storage = Storage(storage.memory, length, dtype)
        return self._tensor(storage, offset, size, stride, None, None, *metadata)

    def _parameter(self, value: Tensor, *_: Any) -> Tensor:
        if not isinstance(value, Tensor):
            raise pickle.UnpicklingError(f'it makes a parameter of a {type(value).__name__}')
        return value

    def _size(self, sizes: tuple) -> torch.Size:
        return torch.Size(self._container(list, sizes))

    def _device(self, name: str, index: int = 0) -> torch.device:
        return torch.device(name, index) if index else torch.device(name)

    def _counter(self, counts: dict | None = None) -> dict:
        if type(counts or {}) is not dict:
            raise pickle.UnpicklingError('it holds a Counter of something other than a dict')
        return self._dict(list((counts or {}).items()))
