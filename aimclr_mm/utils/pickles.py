"""Restricted unpickler for untrusted annotation files: numbers, text, containers, NumPy arrays.

A pickle is a program. This unpickler executes only the instructions that build numbers, text and
containers, and resolves names only in a short table of its own functions. It also limits the
memory: what each instruction allocates is charged, up to :data:`GROWTH` bytes per byte of the file
and :data:`ALWAYS` more. With text and arrays, which are in the file as they are, reading takes at
most 16 times the size of the file.

It extends Python's pure Python ``pickle._Unpickler``. A subclass of ``pickle.Unpickler``, which is
written in C, can restrict names (``find_class``) but not instructions: a dict key of deeply nested
tuples crashes the interpreter in ``hash``, and a memo index of 32 bits allocates gigabytes.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any

import numpy as np

from .files import open_regular

GROWTH = 10  # bytes that instructions may allocate, per byte of the file
ALWAYS = 2**20  # bytes that any file may allocate
DEPTH = 50  # limit of nested containers
_ATOMS = (str, bytes, int, float, bool, complex, type(None), np.generic)

# instructions that build objects, or refer to data outside the file
_REFUSED = (
    pickle.INST,
    pickle.OBJ,
    pickle.NEWOBJ,
    pickle.NEWOBJ_EX,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.PERSID,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
)
# instructions that hash what follows the mark, and the distance between the hashed values
_HASHING = {pickle.DICT: 2, pickle.SETITEMS: 2, pickle.ADDITEMS: 1, pickle.FROZENSET: 1}

# bytes that instructions allocate in CPython, beyond text and the bytes of arrays
_SLOT = 16  # in a stack, a memo or a list, while it grows
_LIST = 96
_TUPLE = 40
_MAPPING = 240  # a dict or a set
_ENTRY = 100  # of a dict or a set
_NUMBER = 32
_TEXT = 80
_OBJECT = 150
_ARRAY = 300
_MARK = 176  # until it is removed
_COSTS = {
    pickle.MARK: _MARK,
    **dict.fromkeys((pickle.EMPTY_LIST, pickle.LIST), _SLOT + _LIST),
    **dict.fromkeys((pickle.EMPTY_DICT, pickle.DICT), _SLOT + _MAPPING),
    **dict.fromkeys((pickle.EMPTY_SET, pickle.FROZENSET), _SLOT + _MAPPING),
    pickle.REDUCE: _OBJECT,
    pickle.TUPLE: _SLOT + _TUPLE,
    pickle.TUPLE1: _TUPLE + 8,
    pickle.TUPLE2: _TUPLE + 16,
    pickle.TUPLE3: _TUPLE + 24,
    **dict.fromkeys((pickle.GLOBAL, pickle.STACK_GLOBAL), _SLOT + _TEXT),
    **dict.fromkeys((pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8), _SLOT + _TEXT),
    **dict.fromkeys((pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING), _SLOT + _TEXT),
    **dict.fromkeys((pickle.UNICODE, pickle.BINUNICODE, pickle.BINUNICODE8), _SLOT + _TEXT),
    **dict.fromkeys((pickle.SHORT_BINUNICODE, pickle.BYTEARRAY8), _SLOT + _TEXT),
    **dict.fromkeys((pickle.INT, pickle.BININT, pickle.BININT2), _SLOT + _NUMBER),
    **dict.fromkeys((pickle.LONG, pickle.LONG1, pickle.LONG4), _SLOT + _NUMBER),
    **dict.fromkeys((pickle.FLOAT, pickle.BINFLOAT), _SLOT + _NUMBER),
}
_GAP = 100  # unused numbers in a row in a memo


def _charged(load: Callable, cost: int) -> Callable:
    """Return an instruction that charges what it allocates."""

    def run(unpickler: RestrictedUnpickler) -> None:
        unpickler.charge(cost)
        load(unpickler)

    return run


class Function:
    """A function that a pickle may call; it has no attributes that a pickle could change."""

    __slots__ = ('_call',)

    def __init__(self, call: Callable) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self._call(*args)


_UNUSED = Function(None)  # refused wherever it ends up


class _Memo(list):
    """The memo of an unpickler; a dict would take ten times the memory."""

    def __setitem__(self, index: int, value: Any) -> None:
        gap = index - len(self)
        if gap > _GAP:
            raise pickle.UnpicklingError(f'it numbers an element {index} after {len(self)} others')
        if gap < 0:
            super().__setitem__(index, value)
        else:
            self.extend([_UNUSED] * gap)
            self.append(value)


class RestrictedUnpickler(pickle._Unpickler):
    """Unpickle numbers, text and containers, and call functions of a table.

    Args:
        file: binary file, open for reading.
        size: size of the file in bytes.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes], size: int) -> None:
        super().__init__(file)
        self.memo = _Memo()
        self._left = GROWTH * size + ALWAYS
        self.functions: Mapping[tuple[str, str], Callable] = {}

    def charge(self, amount: int) -> None:
        """Count bytes that are allocated.

        Raises:
            UnpicklingError: if there are too many for the file.
        """
        self._left -= amount
        if self._left < 0:
            raise pickle.UnpicklingError(
                f'its elements would take more than {GROWTH} times as many bytes as the file has'
            )

    def pop_mark(self) -> list:
        """Return the elements after the last mark, which is removed."""
        self._left += _MARK
        return super().pop_mark()

    def find_class(self, module: str, name: str) -> Function:
        """Return the function of this name from the table."""
        if (module, name) not in self.functions:
            raise pickle.UnpicklingError(
                f'it refers to {module}.{name}; only NumPy arrays and plain containers are read'
            )
        return Function(self.functions[module, name])

    def build(self, value: Any, state: Any) -> None:
        """Set the state of an object."""
        raise pickle.UnpicklingError(f'it changes a {type(value).__name__}')

    def check_keys(self, keys: list) -> None:
        """Raise UnpicklingError for a key whose hash could overflow the stack: nested tuples."""
        for key in keys:
            parts = key if type(key) is tuple else [key]
            if not all(isinstance(part, _ATOMS) for part in parts):
                raise pickle.UnpicklingError(f'it has a {type(key).__name__} as a key')

    def _refuse(self) -> None:
        raise pickle.UnpicklingError(
            'it holds objects; only NumPy arrays and plain containers are read'
        )

    def _load_reduce(self) -> None:
        args, function = self.stack.pop(), self.stack[-1]
        if type(function) is not Function or type(args) is not tuple:
            raise pickle.UnpicklingError('it calls a value that is not a function')
        self.stack[-1] = function(*args)

    def _load_build(self) -> None:
        state = self.stack.pop()
        self.build(self.stack[-1], state)

    def _load_setitem(self) -> None:
        self.check_keys(self.stack[-2:-1])
        self.charge(_ENTRY)
        self.load_setitem()

    def _load_hashing(self, load: Callable, step: int) -> None:
        keys = self.stack[::step]  # of the elements after the mark
        self.check_keys(keys)
        self.charge(_ENTRY * len(keys))
        load(self)

    def _load_bytearray8(self) -> None:
        self.load_binbytes8()  # unlike load_bytearray8, allocates only what the file holds
        self.stack[-1] = bytearray(self.stack[-1])

    dispatch.update(dict.fromkeys([code[0] for code in _REFUSED], _refuse))
    dispatch[pickle.REDUCE[0]] = _load_reduce
    dispatch[pickle.BUILD[0]] = _load_build
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray8
    for _code, _step in _HASHING.items():
        dispatch[_code[0]] = lambda self, load=dispatch[_code[0]], step=_step: self._load_hashing(
            load, step
        )
    dispatch = {
        code: _charged(load, _COSTS.get(bytes([code]), _SLOT)) for code, load in dispatch.items()
    }


class _DType:
    """A NumPy dtype; NumPy's own ``__setstate__`` would let a damaged file corrupt memory."""

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r'[?biufcSU]\d*', name):
            raise pickle.UnpicklingError(
                f'it holds an array of {name[:40]!r}; only numbers and text are read'
            )
        self.value = np.dtype(name)


class _Array:
    """Placeholder of an array until its state is read; replaced by the NumPy array at the end."""

    value: np.ndarray

    def __init__(self, *_: Any) -> None:
        pass


class ArrayUnpickler(RestrictedUnpickler):
    """Unpickle numbers, text, containers, and NumPy arrays of numbers and text.

    Args:
        file, size: see :class:`RestrictedUnpickler`.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        super().__init__(file, size)
        builtins = dict(
            dict=self._dict,
            list=partial(self._container, list),
            set=partial(self._container, set),
            frozenset=partial(self._container, frozenset),
            bytes=self._bytes,
            bytearray=self._bytearray,
            complex=complex,
        )
        self.functions = {
            ('collections', 'OrderedDict'): self._dict,
            ('_codecs', 'encode'): self._encode,
            ('numpy', 'ndarray'): self._refuse,
            ('numpy', 'dtype'): _DType,
        }
        for module in ('builtins', '__builtin__'):  # Python 3 and 2
            self.functions.update({(module, name): call for name, call in builtins.items()})
        for core in ('numpy.core', 'numpy._core'):  # NumPy 1 and 2
            self.functions[f'{core}.multiarray', '_reconstruct'] = _Array
            self.functions[f'{core}.multiarray', 'scalar'] = self._scalar
            self.functions[f'{core}.numeric', '_frombuffer'] = self._array

    def load(self) -> Any:
        """Return the content of the pickle."""
        content = super().load()
        self.memo.clear()  # it holds the bytes of every array
        return self._finish(content, 0)

    def build(self, value: Any, state: Any) -> None:
        """Set the state of an array, or the byte order of a dtype."""
        if type(value) is _Array:
            _, shape, dtype, fortran, content = state
            value.value = self._array(content, dtype, shape, 'F' if fortran else 'C')
        elif type(value) is _DType:
            if state[1] in ('<', '>'):
                value.value = value.value.newbyteorder(state[1])
        else:
            super().build(value, state)

    def _array(
        self,
        content: bytes | str,
        dtype: _DType,
        shape: tuple,
        order: str,
        axes: tuple | None = None,
    ) -> np.ndarray:
        """Return an array of this content in C or Fortran order, or permuted C order (K)."""
        # text comes from Python 2
        content = content.encode('latin1') if isinstance(content, str) else bytes(content)
        self.charge(_ARRAY + len(content))
        if len(content) != math.prod(shape) * dtype.value.itemsize:
            raise pickle.UnpicklingError(f'an array of shape {shape} has {len(content)} bytes')

        if order == 'K' and axes is not None:
            return np.ndarray(shape, dtype.value, content).transpose(axes).copy(order='K')
        return np.ndarray(shape, dtype.value, content, order=order).copy(order='K')

    def _scalar(self, dtype: _DType, content: bytes | str) -> np.generic:
        return self._array(content, dtype, (), 'C')[()]

    def _encode(self, text: str, encoding: str) -> bytes:
        if encoding not in ('latin1', 'latin-1'):
            raise pickle.UnpicklingError(f'it holds bytes in the encoding {str(encoding)[:40]!r}')
        self.charge(_TEXT + len(text))
        return text.encode('latin1')

    def _bytes(self) -> bytes:
        return b''

    def _bytearray(self, content: bytes | str = b'', encoding: str = 'latin1') -> bytearray:
        if isinstance(content, str):
            content = self._encode(content, encoding)
        elif not isinstance(content, bytes):
            raise pickle.UnpicklingError(f'it makes a bytearray of a {type(content).__name__}')
        self.charge(_TEXT + len(content))
        return bytearray(content)

    def _container(self, kind: type, items: list | tuple = ()) -> Any:
        if not isinstance(items, (list, tuple)):
            raise pickle.UnpicklingError(f'it makes a {kind.__name__} of a {type(items).__name__}')
        if kind is list:
            self.charge(_LIST + _SLOT * len(items))
        else:
            self.charge(_MAPPING + _ENTRY * len(items))
            self.check_keys(items)
        return kind(items)

    def _dict(self, items: list | tuple = ()) -> dict:
        pairs = self._container(list, items)
        self.check_keys([key for key, _ in pairs])
        self.charge(_MAPPING + _ENTRY * len(pairs))
        return dict(pairs)

    def complete(self, value: Any) -> Any:
        """Return the final value of a non-container: for an :class:`_Array` its NumPy array."""
        incomplete = type(value) is _Array and not hasattr(value, 'value')
        if incomplete or isinstance(value, (_DType, Function)):
            raise pickle.UnpicklingError('it holds a function, a dtype or an incomplete array')
        return value.value if type(value) is _Array else value

    def _finish(self, value: Any, depth: int) -> Any:
        """Return the value with all placeholders replaced; lists and dicts are changed in place."""
        if type(value) not in (dict, list, tuple):
            return self.complete(value)

        # a container that is shared is visited each time
        self.charge(_TUPLE + _SLOT * len(value))
        if depth == DEPTH:
            raise pickle.UnpicklingError(
                f'its containers are nested more than {DEPTH} deep, or contain themselves'
            )
        if type(value) is tuple:
            return tuple([self._finish(item, depth + 1) for item in value])
        for key, item in value.items() if type(value) is dict else enumerate(value):
            value[key] = self._finish(item, depth + 1)
        return value


def parse_pickle(content: bytes) -> Any:
    """Return the content of a pickle of arrays and plain containers.

    Raises:
        ValueError: if it is damaged, not a pickle, or refers to anything else.
    """
    try:
        return ArrayUnpickler(io.BytesIO(content), len(content)).load()
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(f'is not a readable annotation file ({error!r})') from error


def read_pickle(path: str) -> Any:
    """Return the content of a pickle file of arrays and plain containers.

    Raises:
        ValueError: if it is damaged, not a pickle, or refers to anything else.
        OSError: if it cannot be opened.
    """
    try:
        with open_regular(path) as file:
            return ArrayUnpickler(file, os.fstat(file.fileno()).st_size).load()
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001
        raise ValueError(f'{path!r} is not a readable annotation file ({error!r})') from error
