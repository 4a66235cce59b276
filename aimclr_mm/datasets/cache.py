"""Cached preprocessing: it runs once, and all workers and ranks share the memory-mapped result.

A cache is a folder of ``keypoint.f32`` (all arrays one after the other), ``keypoint_score.f32``
where there are scores, ``index.pkl`` (shapes, checksums and everything else of the annotations) and
``about.json`` (everything the cache depends on). Its name contains a hash of the annotation file's
content, the transforms with their settings and code, and the versions of the libraries; a change
of any of them makes another cache. Caches that no run uses may be deleted.

The index is compared with its checksum when a cache is opened, each sequence when it is first read.
A damaged cache is rebuilt, with a warning in the log.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import Any

import mmaction
import mmcv
import numpy as np
import torch
from filelock import FileLock
from mmcv.transforms import BaseTransform
from mmengine.logging import MMLogger
from rich.progress import track

from aimclr_mm.transforms import SkeletonTransform, functional
from aimclr_mm.transforms.preprocessing import PREPROCESSING
from aimclr_mm.utils.checksums import file_state, remembered_sha256
from aimclr_mm.utils.files import atomic_folder, atomic_write, named_errors, open_regular, read_json

from .annotations import read_pickle, write_pickle
from .columns import pack, to_columns, to_records, unpack

ARRAYS = ('keypoint', 'keypoint_score')
FORMAT = 5  # version of the folder's content


class DamagedCacheError(ValueError):
    """A cache whose files are missing, cut short or differ from their checksums."""


def active_transforms(transforms: Sequence[BaseTransform], data: dict) -> list[BaseTransform]:
    """Return the transforms that the sequences of an annotation file still need.

    The paper's preprocessing is left out where the file says that it is done.
    """
    if not data['metainfo'].get('preprocessed', False):
        return list(transforms)

    omitted = [step for step in transforms if isinstance(step, PREPROCESSING)]
    MMLogger.get_current_instance().info(
        'The annotation file says that its sequences are preprocessed; left out: '
        + ', '.join(type(step).__name__ for step in omitted)
    )
    return [step for step in transforms if step not in omitted]


def _hash(text: str) -> str:
    """Return 16 hexadecimal digits of a text's SHA-256 hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stem(path: str) -> str:
    """Return the name of a file without its ending."""
    return os.path.splitext(os.path.basename(path))[0]


def _hash_code(step: BaseTransform) -> list[str]:
    """Return hashes of the modules that define a transform's class and its bases.

    Raises:
        ValueError: if the source code is not in a file.
    """
    modules = {sys.modules[kind.__module__] for kind in type(step).__mro__ if kind is not object}
    try:
        return sorted(_hash(inspect.getsource(module)) for module in modules)
    except (OSError, TypeError) as error:
        raise ValueError(
            f'the source of {type(step).__name__} is not in a file ({error}), so a change of it '
            'would go unnoticed and its results cannot be cached; set cache=False, or move it to '
            'a module'
        ) from error


def _describe(
    ann_file: str, transforms: Sequence[BaseTransform], settings: Any, cache_dir: str
) -> dict:
    """Return everything a cache depends on, to be hashed and written to ``about.json``."""
    memory = f'{_stem(ann_file)}-{_hash(os.path.abspath(ann_file))}.sha256.json'
    libraries = (mmaction, mmcv, np, torch)
    return dict(
        format=FORMAT,
        annotation_file=os.path.basename(ann_file),
        annotation_sha256=remembered_sha256(ann_file, os.path.join(cache_dir, memory)),
        settings=repr(settings),
        layouts=[repr(getattr(step, 'layout', None)) for step in transforms],  # of a YAML file too
        libraries={library.__name__: library.__version__ for library in libraries},
        functions=_hash(inspect.getsource(functional)),
        code=[_hash_code(step) for step in transforms],
    )


def _run(transforms: Sequence[BaseTransform], annotation: dict) -> dict:
    """Apply all transforms to a copy of an annotation."""
    results = {
        key: value.copy() if isinstance(value, np.ndarray) else value
        for key, value in annotation.items()
    }
    for step in transforms:
        results = step(results)
    return {
        key: np.asarray(value, dtype=np.float32) if key in ARRAYS else value
        for key, value in results.items()
    }


def _check_repeatable(transforms: Sequence[BaseTransform], annotation: dict) -> None:
    """Raise ValueError if the transforms do not give the same result twice."""
    for step in transforms:
        if isinstance(step, SkeletonTransform) and step.is_random:
            raise ValueError(
                f'{type(step).__name__} is random and cannot be cached; move it from preprocess to '
                'the views of the data preprocessor'
            )

    first = pickle.dumps(_run(transforms, annotation))
    second = pickle.dumps(_run(transforms, annotation))
    if first != second:
        names = ', '.join(type(step).__name__ for step in transforms)
        raise ValueError(
            f'preprocess ({names}) gives another result each time and cannot be cached; move the '
            'random transforms to pipeline'
        )


class SequenceCache:
    """Preprocessed sequences, read from a memory-mapped file.

    Args:
        folder: folder of the cache.
        about: what the cache must have been made of.

    Raises:
        DamagedCacheError: if a file is missing, or the index differs from its checksum.
    """

    def __init__(self, folder: str, about: dict) -> None:
        self.folder = folder
        self.about = about
        self._maps: dict[str, np.memmap] = {}
        try:
            self._check_files()
            self._read_index()
        except FileNotFoundError as error:
            raise self._damaged(f'{os.path.basename(error.filename)} is missing') from error
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
            raise self._damaged(str(error) or repr(error)) from error

    def _damaged(self, reason: str) -> DamagedCacheError:
        return DamagedCacheError(f'the cache {self.folder!r} is damaged ({reason})')

    def _check_files(self) -> None:
        """Compare ``about.json`` with what is expected, and ``index.pkl`` with its checksum."""
        stored = read_json(os.path.join(self.folder, 'about.json'))
        with open_regular(os.path.join(self.folder, 'index.pkl')) as file:
            checksum = zlib.crc32(file.read())
        if stored != {**self.about, 'index_crc32': checksum}:
            raise ValueError('about.json does not fit the data, or index.pkl has another checksum')

    def _read_index(self) -> None:
        """Read ``index.pkl`` and compare it with the sizes of the arrays' files."""
        index = read_pickle(os.path.join(self.folder, 'index.pkl'))
        self.metainfo: dict = index['metainfo']
        self.split: dict[str, list[str]] = {n: unpack(names) for n, names in index['split'].items()}
        self.annotations: list[dict] = to_records(index['annotations'])
        self.warnings: list[str] = index['warnings']
        self._shapes: dict[str, np.ndarray] = index['shapes']  # array -> (N, axes)
        self._checksums: dict[str, np.ndarray] = index['checksums']  # array -> (N,)
        self._ends = {name: shapes.prod(axis=1).cumsum() for name, shapes in self._shapes.items()}
        self._verified = {name: np.zeros(len(ends), bool) for name, ends in self._ends.items()}

        for name, ends in self._ends.items():
            size = os.path.getsize(os.path.join(self.folder, f'{name}.f32'))
            if name not in ARRAYS or len(ends) != len(self.annotations) or size != 4 * ends[-1]:
                raise ValueError(
                    f'{name}.f32 has {size} bytes, which are not {len(self.annotations)} sequences'
                )

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_maps': {}}  # pickle would copy the arrays to each worker

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Return copies of the float32 arrays of a sequence, ``keypoint`` and maybe its score.

        Raises:
            DamagedCacheError: if one differs from its checksum.
        """
        found = {}
        for name, ends in self._ends.items():
            shape = self._shapes[name][index]
            start = ends[index] - shape.prod()
            found[name] = np.array(self._map(name)[start : ends[index]]).reshape(shape)
            self._verify(name, found[name][None], np.array([index]))
        return found

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of each sequence's keypoints.

        Raises:
            ValueError: if the sequences of the cache differ in shape.
        """
        shapes = self._shapes['keypoint']
        other = (shapes != shapes[0]).any(axis=1)
        if other.any():
            raise ValueError(
                f'the sequences differ in shape, for example {tuple(shapes[0])} and '
                f'{tuple(shapes[other.argmax()])}, and cannot be read as one array; add ResizeClip '
                'and FormatGCNInput to preprocess, or set batched=False'
            )
        return tuple(map(int, shapes[0]))

    def keypoints(self, indices: np.ndarray) -> np.ndarray:
        """Return the keypoints of several sequences as one array (N, ...), float32.

        Raises:
            ValueError: if the sequences of the cache differ in shape.
            DamagedCacheError: if one differs from its checksum.
        """
        batch = np.take(self._map('keypoint').reshape(-1, *self.shape), indices, axis=0)
        self._verify('keypoint', batch, indices)
        return batch

    def verify(self) -> None:
        """Compare all sequences with their checksums.

        Raises:
            DamagedCacheError: if one differs.
        """
        for index in range(len(self.annotations)):
            self.arrays(index)

    def _verify(self, name: str, rows: np.ndarray, indices: np.ndarray) -> None:
        """Compare sequences that are read for the first time with their checksums."""
        for row in np.flatnonzero(~self._verified[name][indices]):
            index = indices[row]
            if zlib.crc32(rows[row]) != self._checksums[name][index]:
                raise self._damaged(f'sequence {index} of {name}.f32 has another checksum')
            self._verified[name][index] = True

    def _map(self, name: str) -> np.memmap:
        """Return the memory map of an array, opened on first use."""
        if name not in self._maps:
            self._maps[name] = np.memmap(os.path.join(self.folder, f'{name}.f32'), np.float32, 'r')
        return self._maps[name]


def _write_arrays(
    folder: str, annotations: Sequence[dict], transforms: Sequence[BaseTransform], title: str
) -> tuple[list[dict], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Preprocess all sequences and write their arrays.

    Returns:
        The annotations without arrays, and shapes (N, axes) and checksums (N,) of each array.
    """
    rest: list[dict] = []
    shapes: dict[str, list[tuple]] = {}
    checksums: dict[str, list[int]] = {}
    with ExitStack() as stack:
        stack.enter_context(named_errors(folder))
        files = {}
        for annotation in track(annotations, title):
            results = _run(transforms, annotation)
            for name in ARRAYS:
                if name not in results:
                    continue
                if name not in files:
                    path = os.path.join(folder, f'{name}.f32')
                    files[name] = stack.enter_context(open(path, 'wb'))
                array = np.ascontiguousarray(results.pop(name))
                files[name].write(array)
                shapes.setdefault(name, []).append(array.shape)
                checksums.setdefault(name, []).append(zlib.crc32(array))
            rest.append(results)

    if any(len(found) != len(rest) for found in shapes.values()):
        raise ValueError(
            'some sequences have a keypoint_score and others have none; either all must have one '
            'or none'
        )
    return (
        rest,
        {name: np.array(found) for name, found in shapes.items()},
        {name: np.array(found, np.uint32) for name, found in checksums.items()},
    )


def _build(folder: str, data: dict, transforms: Sequence[BaseTransform], about: dict) -> None:
    """Write a cache atomically; the caller holds the lock."""
    annotations = data['annotations']
    transforms = active_transforms(transforms, data)
    _check_repeatable(transforms, annotations[0])

    with atomic_folder(folder) as target:
        title = f'Preprocessing {about["annotation_file"]}'
        rest, shapes, checksums = _write_arrays(target, annotations, transforms, title)
        index = dict(
            metainfo=data['metainfo'],
            split={name: pack(names) for name, names in data['split'].items()},
            annotations=to_columns(rest),
            shapes=shapes,
            checksums=checksums,
            warnings=data['warnings'],
        )
        path = os.path.join(target, 'index.pkl')
        write_pickle(index, path)
        with open(path, 'rb') as file:
            about = {**about, 'index_crc32': zlib.crc32(file.read())}
        with atomic_write(os.path.join(target, 'about.json')) as file:
            json.dump(about, file, indent=2)


def open_cache(
    ann_file: str,
    transforms: Sequence[BaseTransform],
    settings: Any,
    load: Callable[[], dict],
    cache_dir: str | None = None,
    verify: bool = False,
) -> SequenceCache:
    """Open the cache of an annotation file; the first process builds it, the others wait on a lock.

    Args:
        ann_file: the annotation file.
        transforms: deterministic transforms of one annotation.
        settings: their configs, which are hashed.
        load: function that reads and checks the annotation file; called only to build the cache.
        cache_dir: folder of caches; ``cache`` next to the annotation file if not given.
        verify: whether to compare all sequences with their checksums now.

    Raises:
        ValueError: if a transform is random, or the annotation file changes meanwhile.
        OSError: if the folder cannot be written.
    """
    state = file_state(ann_file)
    cache_dir = cache_dir or os.path.join(os.path.dirname(os.path.abspath(ann_file)), 'cache')
    about = _describe(ann_file, transforms, settings, cache_dir)
    name = f'{_stem(ann_file)}-{_hash(json.dumps(about, sort_keys=True))}'
    folder = os.path.join(cache_dir, name)

    def load_unchanged() -> dict:
        data = load()
        if file_state(ann_file) != state:
            raise ValueError(f'{ann_file!r} changed while it was read; start the command again')
        return data

    if not verify and os.path.isdir(folder):
        with suppress(DamagedCacheError):  # it is rebuilt below
            return SequenceCache(folder, about)
    with _lock(folder):
        return _open_or_build(folder, about, transforms, load_unchanged, verify)


@contextmanager
def _lock(folder: str) -> Iterator[None]:
    """Wait until no other process builds a cache."""
    lock = FileLock(f'{folder}.lock')
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise OSError(
            'the cache of preprocessed sequences cannot be written to '
            f'{os.path.dirname(folder)!r} ({error.strerror}); set cache_dir of the dataset to '
            'another folder, or cache=False'
        ) from error
    try:
        yield
    finally:
        lock.release()


def _open_or_build(
    folder: str,
    about: dict,
    transforms: Sequence[BaseTransform],
    load: Callable[[], dict],
    verify: bool,
) -> SequenceCache:
    """Return an intact cache; the caller holds the lock."""
    if os.path.isdir(folder):
        try:
            cache = SequenceCache(folder, about)
            if verify:
                cache.verify()
            return cache
        except DamagedCacheError as error:
            MMLogger.get_current_instance().warning(f'{error}; it is rebuilt')
            shutil.rmtree(folder)

    _build(folder, load(), transforms, about)
    return SequenceCache(folder, about)
