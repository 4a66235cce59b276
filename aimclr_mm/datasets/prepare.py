"""Turns original files into an annotation file: several processes, whole or absent, goes on where it was stopped.

The recordings are read in parts. Each finished part is a file in ``<out>.partial/<key>``, where the key stands for the
source and the options; a second run with the same ones keeps them. At the end they become one annotation file,
sequence by sequence, so that neither the processes nor their parent ever hold the whole data set.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from rich.progress import Progress

from aimclr_mm.utils.files import atomic_write
from aimclr_mm.version import __version__

from .annotations import check_annotation, read_pickle, write_pickle
from .checks import array_defects, overlaps, warnings
from .own_files.folders import Folders
from .own_files.manifest import Custom
from .readers import (
    NTU60,
    NTU120,
    NWUCLA,
    PKUMMD1,
    PKUMMD2,
    UTDMHAD,
    MSRAction3D,
    Official,
    Reader,
    RecordingError,
    Synthetic,
)
from .summary import Summary

READERS: dict[str, type[Reader]] = {
    reader.name: reader
    for reader in (
        Synthetic,
        NTU60,
        NTU120,
        PKUMMD1,
        PKUMMD2,
        UTDMHAD,
        NWUCLA,
        MSRAction3D,
        Official,
        Custom,
        Folders,
    )
}
OPTIONS = tuple(dict.fromkeys(option for reader in READERS.values() for option in reader.options))

MAX_PART = 256  # recordings
MAX_MESSAGE = 1000  # characters

_reader: Reader  # of this process


def _start(reader: Reader) -> None:
    """Prepares a process: its reader, and an end with that of its parent, which would otherwise leave it behind."""
    global _reader
    _reader = reader
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends them
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read(reader: Reader, recording: Any) -> list[dict]:
    """The checked sequences of a recording, ready to be written."""
    annotations = reader.read(recording)
    if not annotations:
        raise RecordingError('holds no sequence')
    for annotation in annotations:
        check_annotation(annotation, str(recording))
        if not np.isfinite(annotation['keypoint']).all():
            raise RecordingError('holds coordinates that are not finite')
        if defect := next(array_defects(annotation), ''):
            raise RecordingError(defect)
        annotation['splits'] = list(reader.splits(annotation))
        annotation['warnings'] = warnings(annotation)
    return annotations


def _convert(recordings: Sequence[Any], path: str, strict: bool) -> int:
    """Reads a part in a process of its own and writes it; returns the number of its recordings."""
    annotations, problems = [], []
    for recording in recordings:
        try:
            annotations += _read(_reader, recording)
        except ValueError as error:
            message = f'{recording}: {error}'[:MAX_MESSAGE]
            if strict:
                raise ValueError(message) from error
            problems.append(message)
    write_pickle(dict(annotations=annotations, problems=problems), path)
    return len(recordings)


class _Stream(list):
    """Pickled as a list of what an iterator yields, which is never in memory as a whole."""

    def __init__(self, items: Iterator[dict]) -> None:
        self._items = items

    def __reduce_ex__(self, protocol: int) -> tuple:
        return list, (), None, self._items


def _merge(
    parts: Sequence[str], splits: dict[str, list[str]], summary: Summary, strict: bool
) -> Iterator[dict]:
    """Yields the sequences of all parts; fills splits and summary on the way."""
    seen: set[str] = set()
    for path in parts:
        part = read_pickle(path)
        if strict and part['problems']:
            raise ValueError(part['problems'][0])
        summary.problems += part['problems']
        for annotation in part['annotations']:
            name = annotation['frame_dir']
            if name in seen:
                summary.problems.append(f'{name}: a second sequence of this name')
                continue
            seen.add(name)
            for split in annotation.pop('splits'):
                splits.setdefault(split, []).append(name)
            summary.add(annotation, annotation.pop('warnings'))
            yield annotation


def _run_parts(
    reader: Reader, todo: dict[str, Sequence[Any]], done: int, workers: int, strict: bool
) -> None:
    """Converts the parts that are not there yet, with a progress bar over recordings."""
    total = done + sum(map(len, todo.values()))
    with (
        Progress() as progress,
        ProcessPoolExecutor(workers, initializer=_start, initargs=(reader,)) as pool,
    ):
        task = progress.add_task(f'Reading {reader.name}', total=total, completed=done)
        futures = [
            pool.submit(_convert, recordings, path, strict) for path, recordings in todo.items()
        ]
        try:
            for future in as_completed(futures):
                progress.advance(task, future.result())
        except BrokenProcessPool as error:
            raise RuntimeError(
                'a process that read recordings died, perhaps for lack of memory; run the command '
                'again to go on, with fewer --workers'
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def prepare(reader: Reader, out: str, workers: int | None = None, strict: bool = False) -> Summary:
    """Writes the annotation file of a data set.

    Args:
        reader: of the original files.
        out: the annotation file.
        workers: processes; as many as there are cores if not given.
        strict: stop at the first recording that cannot be used, instead of leaving it out.

    Returns:
        What the file holds, with what was left out and why.

    Raises:
        ValueError: if no recording can be used, or one cannot and ``strict`` is set.
    """
    recordings = reader.recordings()
    if not recordings:
        raise ValueError(
            f'the source holds no recording of {reader.name} (files named like {reader.pattern})'
        )
    if os.path.isdir(out):
        raise ValueError(f'{out!r} is a folder; --out is the file to write')
    folder = f'{out}.partial'
    with _only_one(folder):
        summary = _prepare(reader, recordings, out, folder, workers or os.cpu_count(), strict)
        shutil.rmtree(folder)
    return summary


@contextmanager
def _only_one(folder: str) -> Iterator[None]:
    """Keeps a second process from working on the same result."""
    os.makedirs(folder, exist_ok=True)
    lock = FileLock(os.path.join(folder, 'lock'))
    try:
        lock.acquire(timeout=3)
    except Timeout as error:
        raise ValueError(
            f'another process is working on {folder!r}; wait for it, or give another --out'
        ) from error
    try:
        yield
    finally:
        lock.release()


def _prepare(
    reader: Reader, recordings: Sequence[Any], out: str, folder: str, workers: int, strict: bool
) -> Summary:
    """Converts all parts that are not there yet and makes one file of them."""
    key = hashlib.sha256(repr((__version__, reader.metainfo(), recordings)).encode()).hexdigest()[
        :16
    ]
    for other in os.listdir(folder):  # parts of another source or of other options
        if other not in (key, 'lock'):
            shutil.rmtree(os.path.join(folder, other), ignore_errors=True)
    size, parts = max(1, min(MAX_PART, len(recordings) // 64)), {}
    for start in range(0, len(recordings), size):
        parts[os.path.join(folder, key, f'{start:08d}.pkl')] = recordings[start : start + size]
    todo = {path: part for path, part in parts.items() if not os.path.exists(path)}
    _run_parts(reader, todo, len(recordings) - sum(map(len, todo.values())), workers, strict)

    summary = Summary(reader.published, reader.num_classes)
    summary.left_out = reader.left_out
    splits: dict[str, list[str]] = {}
    result = os.path.join(folder, key, 'result')
    with atomic_write(result, 'wb') as file:
        pickler = pickle.Pickler(file, protocol=4)
        pickler.fast = True  # no memo: what has been written (and later read) can be forgotten
        pickler.dump(
            dict(
                metainfo=reader.metainfo(),
                annotations=_Stream(_merge(list(parts), splits, summary, strict)),
                split=splits,
            )
        )
    summary.splits, summary.split_warnings = (
        {name: len(names) for name, names in splits.items()},
        overlaps(splits),
    )
    if not summary.sequences:
        shutil.rmtree(folder)
        raise ValueError(
            f'none of {len(recordings)} recordings can be used; the first: {summary.problems[0]}'
        )
    os.replace(result, out)
    return summary
