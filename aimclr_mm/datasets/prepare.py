"""Convert original files to an annotation file, in several processes.

The recordings are read in parts. Each finished part is a file in ``<out>.partial/<key>``, where the
key is a hash of the source and the options; a second run with the same ones continues with the
missing parts. At the end the parts are merged into one annotation file, sequence by sequence, so
that neither the workers nor their parent ever hold the whole data set. The result appears when it
is complete.
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
from typing import Any

import numpy as np
from rich.progress import Progress

from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.locks import exclusive
from aimclr_mm.version import __version__

from .annotations import check_annotation, read_pickle, write_pickle
from .checks import array_defects, overlaps, warnings
from .leveling import Cameras, check_trunk, trunk_direction
from .own_files import FolderReader, ManifestReader
from .own_files.cleaning import Report
from .readers import (
    NTU60,
    NTU120,
    NWUCLA,
    PKUMMD1,
    PKUMMD2,
    UTDMHAD,
    Movements,
    MSRAction3D,
    PaddedReader,
    Reader,
    RecordingError,
    ReleasedReader,
    Synthetic,
)
from .summary import Summary

READERS: dict[str, type[Reader]] = {
    reader.name: reader
    for reader in (
        Synthetic,
        Movements,
        NTU60,
        NTU120,
        PKUMMD1,
        PKUMMD2,
        UTDMHAD,
        NWUCLA,
        MSRAction3D,
        ReleasedReader,
        PaddedReader,
        ManifestReader,
        FolderReader,
    )
}
OPTIONS = tuple(dict.fromkeys(option for reader in READERS.values() for option in reader.options))

MAX_PART = 256  # recordings
MIN_PARTS = 64  # for small data sets, so that all workers have something to do
MAX_MESSAGE = 1000  # characters
PARTS = 3  # version of the content of parts
TRUNKS = '.trunks'  # of the file beside a part that holds the trunks of its sequences
OTHER_FILES = 24  # open files besides two for each worker

_reader: Reader  # of this worker


def prepare(reader: Reader, out: str, workers: int | None = None, strict: bool = False) -> Summary:
    """Write the annotation file of a data set.

    Args:
        reader: reader of the original files.
        out: path of the annotation file.
        workers: number of processes, by default that of the cores.
        strict: whether to stop at the first recording that cannot be used instead of leaving it
            out.

    Returns:
        Statistics of the file, with the sequences left out and the reasons.

    Raises:
        ValueError: if no recording can be used, or one cannot and ``strict`` is set.
    """
    reader.check_mapping()
    if reader.level:
        check_trunk(reader.mapped_layout())
    recordings = reader.recordings()
    if not recordings:
        raise ValueError(
            f'the source holds no recording of {reader.name} (files named like {reader.pattern})'
        )
    if os.path.isdir(out):
        raise ValueError(f'{out!r} is a folder; --out is the file to write')

    workers = workers or os.cpu_count()
    _check_open_files(workers)

    folder = f'{out}.partial'
    directory, name = os.path.split(out)
    lock = os.path.join(directory, f'.{name}.lock')  # outside of the folder, which is deleted
    with exclusive(lock, out, 'wait for it, or give another --out'):
        os.makedirs(folder, exist_ok=True)
        parts = _assign_parts(reader, recordings, folder)
        _read_parts(reader, parts, workers, strict)
        summary = _merge_parts(reader, list(parts), out, strict)
        shutil.rmtree(folder)
        if not summary.sequences:
            raise ValueError(
                f'none of {len(recordings)} recordings can be used; the first: '
                f'{summary.problems[0]}'
            )
    return summary


def _assign_parts(
    reader: Reader, recordings: Sequence[Any], folder: str
) -> dict[str, Sequence[Any]]:
    """Return path -> recordings of each part; parts of other sources or options are deleted."""
    identity = repr((__version__, PARTS, reader.metainfo(), recordings))
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    for other in os.listdir(folder):
        if other != key:
            shutil.rmtree(os.path.join(folder, other), ignore_errors=True)

    size = max(1, min(MAX_PART, len(recordings) // MIN_PARTS))
    return {
        os.path.join(folder, key, f'{start:08d}.pkl'): recordings[start : start + size]
        for start in range(0, len(recordings), size)
    }


# reading, in the workers


def _read_parts(
    reader: Reader, parts: dict[str, Sequence[Any]], workers: int, strict: bool
) -> None:
    """Read the missing parts, with a progress bar over recordings."""
    total = sum(map(len, parts.values()))
    todo = {path: part for path, part in parts.items() if not os.path.exists(path)}
    done = total - sum(map(len, todo.values()))

    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(reader,))
    with Progress() as progress, pool:
        task = progress.add_task(f'Reading {reader.name}', total=total, completed=done)
        futures = [pool.submit(_read_part, part, path, strict) for path, part in todo.items()]
        try:
            for future in as_completed(futures):
                progress.advance(task, future.result())
        except BrokenProcessPool as error:
            raise RuntimeError(
                'a process that read recordings died, perhaps for lack of memory; run the command '
                'again to continue, with fewer --workers'
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _check_open_files(workers: int) -> None:
    """Raise ValueError if the workers need more open files than allowed; they would never end."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * workers + OTHER_FILES
    if limit != resource.RLIM_INFINITY and needed > limit:
        raise ValueError(
            f'{workers} workers need {needed} open files, and {limit} are allowed; give fewer '
            '--workers, or allow more (ulimit -n)'
        )


def _start_worker(reader: Reader) -> None:
    """Set the reader of a worker, and make the worker end with its parent."""
    global _reader
    _reader = reader
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it too and ends the workers
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read_part(recordings: Sequence[Any], path: str, strict: bool) -> int:
    """Read a part, write it to a file, and return the number of its recordings."""
    annotations = []
    problems = []
    for recording in recordings:
        try:
            annotations += _read(_reader, recording)
        except ValueError as error:
            message = f'{recording}: {error}'[:MAX_MESSAGE]
            if strict:
                raise ValueError(message) from error
            problems.append(message)

    layout = _reader.mapped_layout()
    cameras = Cameras(layout)
    for annotation in annotations:
        cameras.add(annotation, trunk_direction(annotation, layout))
    # first and apart, so that all are known before the first sequence is turned
    write_pickle(cameras.trunks, f'{path}{TRUNKS}')
    write_pickle(dict(annotations=annotations, problems=problems), path)
    return len(recordings)


def _read(reader: Reader, recording: Any) -> list[dict]:
    """Return the checked sequences of a recording, with their splits and warnings."""
    annotations = reader.read(recording)
    if not annotations:
        raise RecordingError('holds no sequence')

    for annotation in annotations:
        check_annotation(annotation, str(recording))
        if not np.isfinite(annotation['keypoint']).all():
            raise RecordingError('holds coordinates that are not finite')
        defect = next(array_defects(annotation), '')
        if defect:
            raise RecordingError(defect)

    mapped = [reader.mapped(annotation) for annotation in annotations]
    for annotation in mapped:
        annotation['splits'] = list(reader.splits(annotation))
        annotation['warnings'] = warnings(annotation)
    return mapped


# merging, in the parent


class _Stream(list):
    """Pickles as a list of the items of an iterator, without holding them in memory."""

    def __init__(self, items: Iterator[dict]) -> None:
        self._items = items

    def __reduce_ex__(self, protocol: int) -> tuple:
        return list, (), None, self._items


def _merge_parts(reader: Reader, parts: Sequence[str], out: str, strict: bool) -> Summary:
    """Merge all parts into the annotation file, if it holds at least one sequence."""
    summary = Summary(reader.published, reader.num_classes)
    summary.cleaning = Report(getattr(reader, 'missing', 'keep'))
    summary.left_out = reader.left_out
    splits: dict[str, list[str]] = {}

    cameras = Cameras(reader.mapped_layout())
    for path in parts:
        cameras.merge(read_pickle(f'{path}{TRUNKS}'))
    sequences = _merge(parts, splits, summary, strict)
    if reader.level:
        cameras.fit()
        sequences = map(cameras.turn, sequences)

    result = os.path.join(os.path.dirname(parts[0]), 'result')
    with atomic_write(result, 'wb') as file:
        pickler = pickle.Pickler(file, protocol=4)
        pickler.fast = True  # without memo, which would keep all sequences in memory
        pickler.dump(
            dict(
                metainfo=reader.metainfo() | ({'level': True} if reader.level else {}),
                annotations=_Stream(sequences),
                split=splits,  # filled by _merge while the annotations are written
            )
        )

    summary.splits = {name: len(names) for name, names in splits.items()}
    summary.split_warnings = overlaps(splits)
    summary.cameras = '' if reader.preprocessed else cameras.sentence()
    if summary.sequences:
        os.replace(result, out)
    return summary


def _merge(
    parts: Sequence[str], splits: dict[str, list[str]], summary: Summary, strict: bool
) -> Iterator[dict]:
    """Yield the sequences of all parts; fill splits and summary."""
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
            if 'cleaned' in annotation:
                summary.cleaning.add(annotation.pop('cleaned'))
            summary.add(annotation, annotation.pop('warnings'))
            yield annotation
