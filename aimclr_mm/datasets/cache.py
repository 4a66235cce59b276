"""Preprocessed sequences in a memory-mapped file: preprocessing runs once, all workers and ranks share the result.

A cache is a folder of ``keypoint.f32`` (all arrays one after the other), ``keypoint_score.f32`` where there are
scores, ``index.pkl`` (shapes and everything else of the annotations) and ``about.json`` (what it was made from). Its
name holds a hash of the annotation file's size and time, the transforms with their settings and code, and the versions
of the libraries, so that a change of any of them makes another cache. Caches that no run uses may be deleted.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import mmaction
import mmcv
import numpy as np
import torch
from filelock import FileLock
from mmcv.transforms import BaseTransform
from mmengine.logging import MMLogger
from rich.progress import track

from aimclr_mm.transforms import RandomTransform, SkeletonTransform, functional
from aimclr_mm.utils.files import atomic_folder

from .annotations import read_pickle, write_pickle
from .columns import pack, to_columns, to_records, unpack

ARRAYS = ('keypoint', 'keypoint_score')
FORMAT = 3  # of a cache's folder


def needed(transforms: Sequence[BaseTransform], data: dict) -> list[BaseTransform]:
    """The transforms without the project's own where an annotation file says that its sequences are preprocessed."""
    if not data['metainfo'].get('preprocessed', False):
        return list(transforms)
    kept = [
        step
        for step in transforms
        if isinstance(step, RandomTransform) or not isinstance(step, SkeletonTransform)
    ]
    MMLogger.get_current_instance().info(
        'The annotation file says that its sequences are preprocessed; left out: '
        + ', '.join(type(step).__name__ for step in transforms if step not in kept)
    )
    return kept


def _code(step: BaseTransform) -> list[str]:
    """Hashes of the modules that a transform's class and its bases are written in.

    Raises:
        ValueError: if the code is in no file.
    """
    modules = {sys.modules[kind.__module__] for kind in type(step).__mro__ if kind is not object}
    try:
        return sorted(
            hashlib.sha256(inspect.getsource(module).encode()).hexdigest()[:16]
            for module in modules
        )
    except (OSError, TypeError) as error:
        raise ValueError(
            f'{type(step).__name__} is in no file ({error}), so that its changes cannot be seen and its '
            'results not be cached; set cache=False, or move it to a module'
        ) from error


def _describe(ann_file: str, transforms: Sequence[BaseTransform], settings: Any) -> dict:
    """What a cache is made from, as it is hashed and written down."""
    status = os.stat(ann_file)
    layouts = [
        repr(getattr(step, 'layout', None)) for step in transforms
    ]  # a file of a layout may change
    libraries = {library.__name__: library.__version__ for library in (mmaction, mmcv, np, torch)}
    return dict(
        format=FORMAT,
        annotation_file=os.path.basename(ann_file),
        bytes=status.st_size,
        changed_ns=status.st_mtime_ns,
        settings=repr(settings),
        layouts=layouts,
        libraries=libraries,
        functions=hashlib.sha256(inspect.getsource(functional).encode()).hexdigest()[:16],
        code=[_code(step) for step in transforms],
    )


def _run(transforms: Sequence[BaseTransform], annotation: dict) -> dict:
    """The annotation after all transforms; its own arrays stay as they are."""
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
    """Raises ValueError if the transforms do not give the same result twice."""
    for step in transforms:
        if isinstance(step, RandomTransform):
            raise ValueError(
                f'{type(step).__name__} is random and cannot be cached; move it from preprocess to the '
                'views of the data preprocessor'
            )
    if pickle.dumps(_run(transforms, annotation)) != pickle.dumps(_run(transforms, annotation)):
        names = ', '.join(type(step).__name__ for step in transforms)
        raise ValueError(
            f'preprocess ({names}) gives another result each time and cannot be cached; move what is '
            'random to pipeline'
        )


class SequenceCache:
    """Preprocessed sequences, read from a memory-mapped file.

    Args:
        folder: of the cache.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        try:
            index = read_pickle(os.path.join(folder, 'index.pkl'))
            self.metainfo: dict = index['metainfo']
            self.split: dict[str, list[str]] = {
                name: unpack(names) for name, names in index['split'].items()
            }
            self.annotations: list[dict] = to_records(index['annotations'])
            self.notes: list[str] = index['notes']  # what is odd about the data
            self._shapes: dict[str, np.ndarray] = index['shapes']  # name -> (N, axes)
            self._ends = {
                name: np.cumsum(shapes.prod(axis=1)) for name, shapes in self._shapes.items()
            }
            self._check()
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            IndexError,
            FileNotFoundError,
        ) as error:
            raise ValueError(
                f'the cache {folder!r} is damaged ({error!r}); delete it, and it is made anew'
            ) from error
        self._maps: dict[str, np.memmap] = {}

    def _check(self) -> None:
        """Raises ValueError if the files of arrays have other sizes than the index says."""
        for name, ends in self._ends.items():
            size = os.path.getsize(os.path.join(self.folder, f'{name}.f32'))
            if name not in ARRAYS or len(ends) != len(self.annotations) or size != 4 * ends[-1]:
                raise ValueError(
                    f'{name}.f32 has {size} bytes, which are not {len(self.annotations)} sequences'
                )

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_maps': {}}  # a memory map would be sent to a worker as a whole

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Copies of the arrays of a sequence, ``keypoint`` and perhaps ``keypoint_score``, float32."""
        found = {}
        for name, ends in self._ends.items():
            shape = self._shapes[name][index]
            start = ends[index] - shape.prod()
            found[name] = np.array(self._map(name)[start : ends[index]]).reshape(shape)
        return found

    def keypoints(self, indices: np.ndarray) -> np.ndarray:
        """Keypoints of several sequences at once, (N, ...) float32.

        Raises:
            ValueError: if the sequences of the cache differ in shape.
        """
        shapes = self._shapes['keypoint']
        if (shapes != shapes[0]).any():
            raise ValueError(
                f'the sequences differ in shape, such as {tuple(shapes[0])} and '
                f'{tuple(shapes[(shapes != shapes[0]).any(axis=1).argmax()])}, and cannot be fetched as '
                'one array; add ResizeClip and FormatGCNInput to preprocess, or set batched=False'
            )
        return np.take(self._map('keypoint').reshape(-1, *shapes[0]), indices, axis=0)

    def _map(self, name: str) -> np.memmap:
        """The array of a file, opened when it is first needed."""
        if name not in self._maps:
            self._maps[name] = np.memmap(os.path.join(self.folder, f'{name}.f32'), np.float32, 'r')
        return self._maps[name]


def _write_arrays(
    folder: str, annotations: Sequence[dict], transforms: Sequence[BaseTransform], title: str
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Writes the arrays of all sequences; returns what else the annotations hold, and the shapes by array."""
    rest, shapes = [], {}
    with ExitStack() as stack:
        files = {}
        for annotation in track(annotations, title):
            results = _run(transforms, annotation)
            for name in (name for name in ARRAYS if name in results):
                if name not in files:
                    files[name] = stack.enter_context(
                        open(os.path.join(folder, f'{name}.f32'), 'wb')
                    )
                results[name].tofile(files[name])
                shapes.setdefault(name, []).append(results.pop(name).shape)
            rest.append(results)
    if any(len(found) != len(rest) for found in shapes.values()):
        raise ValueError(
            'some sequences have a keypoint_score and others have none; give all or none one'
        )
    return rest, {name: np.array(found) for name, found in shapes.items()}


def _build(folder: str, data: dict, transforms: Sequence[BaseTransform], about: dict) -> None:
    """Writes a cache as a whole. Only one process at a time does so."""
    annotations, transforms = data['annotations'], needed(transforms, data)
    _check_repeatable(transforms, annotations[0])
    with atomic_folder(folder) as target:
        rest, shapes = _write_arrays(
            target, annotations, transforms, f'Preprocessing {about["annotation_file"]}'
        )
        split = {name: pack(names) for name, names in data['split'].items()}
        index = dict(
            metainfo=data['metainfo'],
            split=split,
            annotations=to_columns(rest),
            shapes=shapes,
            notes=data.get('notes', []),
        )
        write_pickle(index, os.path.join(target, 'index.pkl'))
        with open(os.path.join(target, 'about.json'), 'w', encoding='utf-8') as file:
            json.dump(about, file, indent=2)


def open_cache(
    ann_file: str,
    transforms: Sequence[BaseTransform],
    settings: Any,
    load: Callable[[], dict],
    cache_dir: str | None = None,
) -> SequenceCache:
    """The cache of an annotation file, made by whoever comes first while the others wait.

    Args:
        ann_file: the annotation file.
        transforms: deterministic transforms of one annotation.
        settings: their configs, which are hashed.
        load: reads and checks the annotation file; called only if there is no cache yet.
        cache_dir: folder of caches; ``cache`` beside the annotation file if not given.

    Raises:
        ValueError: if a transform is random.
        OSError: if the folder cannot be written.
    """
    about = _describe(ann_file, transforms, settings)
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    cache_dir = cache_dir or os.path.join(os.path.dirname(os.path.abspath(ann_file)), 'cache')
    stem = os.path.splitext(os.path.basename(ann_file))[0]
    folder = os.path.join(cache_dir, f'{stem}-{key}')
    if not os.path.isdir(folder):
        lock = FileLock(f'{folder}.lock')
        try:
            os.makedirs(cache_dir, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise OSError(
                f'the cache of preprocessed sequences cannot be written to {cache_dir!r} ({error.strerror}); '
                'set cache_dir of the data set to another folder, or cache=False'
            ) from error
        try:
            if not os.path.isdir(folder):
                _build(folder, load(), transforms, about)
        finally:
            lock.release()
    return SequenceCache(folder)
