"""Pickles of plain data from strangers: read by a machine that knows few instructions and calls no code of others.

A pickle is a program. The machine here keeps those of its instructions that make numbers, text and containers, and of
the functions that a pickle may name a short table of its own. A small file cannot take much memory either: what it
makes is counted and may be :data:`GROWTH` times as large as the file. Python's machine in C could not be kept from
that, nor from a crash (a key of deeply nested tuples, an index of 32 bits), so that this one is Python's own in Python.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

GROWTH = 8  # elements and bytes that a file may stand for, for each of its bytes
DEPTH = 50  # of containers in containers
_ATOMS = (str, bytes, int, float, bool, complex, type(None), np.generic)


class Function:
    """Something that a pickle names, and may call. It has nothing that a pickle could change."""

    __slots__ = ('_call',)

    def __init__(self, call: Callable) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        """Calls it."""
        return self._call(*args)


class Machine(pickle._Unpickler):
    """Numbers, text and containers, and what a table of functions adds to them.

    Args:
        file: open for reading, in bytes.
        size: of the file in bytes.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file, size: int) -> None:
        super().__init__(file)
        self._left = GROWTH * size
        self.functions: Mapping[tuple[str, str], Callable] = {}

    def charge(self, amount: int) -> None:
        """Counts elements or bytes that come into being.

        Raises:
            UnpicklingError: if there are too many for the file.
        """
        self._left -= amount
        if self._left < 0:
            raise pickle.UnpicklingError(
                f'it stands for more than {GROWTH} times as many elements as it has bytes'
            )

    def find_class(self, module: str, name: str) -> Function:
        """The function of this name in the table."""
        if (module, name) not in self.functions:
            raise pickle.UnpicklingError(
                f'it refers to {module}.{name}; only NumPy arrays and plain containers are read'
            )
        return Function(self.functions[module, name])

    def build(self, value: Any, state: Any) -> None:
        """Gives a value its state."""
        raise pickle.UnpicklingError(f'it changes a {type(value).__name__}')

    def check_keys(self, keys: list) -> None:
        """Raises UnpicklingError if one may not be a key of a dict or in a set: hashing nested tuples can crash."""
        for key in keys:
            if not isinstance(key, _ATOMS) and not (
                type(key) is tuple and all(isinstance(k, _ATOMS) for k in key)
            ):
                raise pickle.UnpicklingError(f'it has a {type(key).__name__} as a key')

    def _refuse(self) -> None:
        raise pickle.UnpicklingError(
            'it holds objects; only NumPy arrays and plain containers are read'
        )

    def _load_reduce(self) -> None:
        args, function = self.stack.pop(), self.stack[-1]
        if type(function) is not Function or type(args) is not tuple:
            raise pickle.UnpicklingError('it calls what is no function')
        self.stack[-1] = function(*args)

    def _load_build(self) -> None:
        state = self.stack.pop()
        self.build(self.stack[-1], state)

    def _load_setitem(self) -> None:
        self.check_keys(self.stack[-2:-1])
        self.load_setitem()

    def _load_keys_of_mark(self, load: Callable, step: int) -> None:
        self.check_keys(self.stack[::step])  # what stands after the mark
        load(self)

    def _load_bytearray8(self) -> None:
        self.load_binbytes8()  # takes no memory before there is something to put into it
        self.stack[-1] = bytearray(self.stack[-1])

    dispatch.update(
        dict.fromkeys(
            [
                code[0]
                for code in (
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
            ],
            _refuse,
        )
    )
    dispatch.update(
        {
            pickle.REDUCE[0]: _load_reduce,
            pickle.BUILD[0]: _load_build,
            pickle.SETITEM[0]: _load_setitem,
            pickle.BYTEARRAY8[0]: _load_bytearray8,
        }
    )
    for _code, _step in (
        (pickle.DICT, 2),
        (pickle.SETITEMS, 2),
        (pickle.ADDITEMS, 1),
        (pickle.FROZENSET, 1),
    ):
        dispatch[_code[0]] = lambda self, load=dispatch[_code[0]], step=_step: (
            self._load_keys_of_mark(load, step)
        )


class _DType:
    """A NumPy dtype as a pickle describes it. NumPy's own would let a damaged file corrupt memory."""

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r'[?biufcSU]\d*', name):
            raise pickle.UnpicklingError(
                f'it holds an array of {name[:40]!r}; only numbers and text are read'
            )
        self.value = np.dtype(name)


class _Array:
    """An array in the making; the NumPy array takes its place at the end."""

    value: np.ndarray

    def __init__(self, *_: Any) -> None:
        pass


class ArrayMachine(Machine):
    """Numbers, text, containers and NumPy arrays of numbers and text; other arguments: see :class:`Machine`."""

    def __init__(self, file, size: int) -> None:
        super().__init__(file, size)
        self.functions = {
            ('collections', 'OrderedDict'): self._dict,
            ('_codecs', 'encode'): self._encode,
            ('numpy', 'ndarray'): self._refuse,
            ('numpy', 'dtype'): _DType,
            **{
                (module, name): function
                for module in ('builtins', '__builtin__')
                for name, function in dict(
                    dict=self._dict,
                    list=partial(self._container, list),
                    set=partial(self._container, set),
                    frozenset=partial(self._container, frozenset),
                    bytes=self._bytes,
                    bytearray=self._bytearray,
                    complex=complex,
                ).items()
            },
            **{
                (f'numpy.{core}.{module}', name): function
                for core in ('core', '_core')
                for module, name, function in (
                    ('multiarray', '_reconstruct', _Array),
                    ('multiarray', 'scalar', self._scalar),
                    ('numeric', '_frombuffer', self._array),
                )
            },
        }

    def load(self) -> Any:
        """What the pickle holds."""
        content = super().load()
        self.memo.clear()  # which holds the bytes of every array
        return self._finish(content, 0)

    def build(self, value: Any, state: Any) -> None:
        """The state of an array, or the byte order of a dtype."""
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
    ):
        """An array of this content, in C or Fortran order, or in C order with its axes (K) put in another one."""
        content = (
            content.encode('latin1') if isinstance(content, str) else bytes(content)
        )  # text: Python 2
        self.charge(len(content))
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
        self.charge(len(text))
        return text.encode('latin1')

    def _bytes(self) -> bytes:
        return b''

    def _bytearray(self, content: bytes | str = b'', encoding: str = 'latin1') -> bytearray:
        if isinstance(content, str):
            content = self._encode(content, encoding)
        elif not isinstance(content, bytes):
            raise pickle.UnpicklingError(f'it makes bytes of a {type(content).__name__}')
        self.charge(len(content))
        return bytearray(content)

    def _container(self, kind: type, items: list | tuple = ()) -> Any:
        if not isinstance(items, (list, tuple)):
            raise pickle.UnpicklingError(f'it makes a {kind.__name__} of a {type(items).__name__}')
        self.charge(len(items))
        if kind is not list:
            self.check_keys(items)
        return kind(items)

    def _dict(self, items: list | tuple = ()) -> dict:
        pairs = self._container(list, items)
        self.check_keys([key for key, _ in pairs])
        return dict(pairs)

    def complete(self, value: Any) -> Any:
        """What takes the place of a value that is no container: of an :class:`_Array` its array."""
        if (
            isinstance(value, (_DType, Function))
            or type(value) is _Array
            and not hasattr(value, 'value')
        ):
            raise pickle.UnpicklingError('it holds a function, a type or half an array')
        return value.value if type(value) is _Array else value

    def _finish(self, value: Any, depth: int) -> Any:
        """The value with everything in it completed."""
        if type(value) not in (dict, list, tuple):
            return self.complete(value)
        self.charge(len(value))
        if depth == DEPTH:
            raise pickle.UnpicklingError(
                f'its containers are nested more than {DEPTH} deep, or hold themselves'
            )
        if type(value) is dict:
            return {key: self._finish(item, depth + 1) for key, item in value.items()}
        return type(value)([self._finish(item, depth + 1) for item in value])


def parse_pickle(content: bytes) -> Any:
    """What the bytes of a pickle of arrays and plain containers hold.

    Raises:
        ValueError: if they are damaged, no pickle, or refer to anything else.
    """
    try:
        return ArrayMachine(io.BytesIO(content), len(content)).load()
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(f'is no readable annotation file ({error!r})') from error


def read_pickle(path: str) -> Any:
    """What a pickle of arrays and plain containers holds.

    Raises:
        ValueError: if the file is damaged, no pickle, or refers to anything else.
    """
    try:
        with open(path, 'rb') as file:
            return ArrayMachine(file, os.fstat(file.fileno()).st_size).load()
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(f'{path!r} is no readable annotation file ({error!r})') from error
