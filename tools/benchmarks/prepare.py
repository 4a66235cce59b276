"""Reading NTU's original files: against mmaction2's reader, and at the size of a data set."""

from __future__ import annotations

import importlib.util
import os
import resource
from collections import deque
from collections.abc import Callable
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
from rich.progress import track

from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import NTU120, list_files
from aimclr_mm.datasets.readers.ntu import missing

from .timing import Case, compare

READER = 'tools/data/skeleton/gen_ntu_rgbd_raw.py'  # of mmaction2


def recording(frames: int, bodies: int, rng: np.random.Generator) -> str:
    """Return the text of a ``.skeleton`` file with numbers as Kinect writes them."""
    lines = [str(frames)]
    for _ in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            x, y = rng.normal(size=2)
            lines += [f'7205759403792{body:04} 0 1 1 1 1 0 {x:.7f} {y:.7f} 2', '25']
            for position, others in zip(rng.normal(size=(25, 3)), 300 * rng.random((25, 8))):
                numbers = [f'{value:.7f}' for value in position]
                numbers += [f'{value:.4f}' for value in others]
                lines.append(' '.join([*numbers, '2']))
    return '\r\n'.join([*lines, ''])


def write_recordings(folder: str, count: int) -> list[Path]:
    """Write random recordings of 60 to 300 frames with 1 or 2 bodies; return their paths."""
    rng = np.random.default_rng(0)
    paths = []
    for i in track(range(count), 'Writing recordings'):
        name = f'S001C001P{i // 60 % 40 + 1:03}R{i // 2400 + 1:03}A{i % 60 + 1:03}.skeleton'
        text = recording(int(rng.integers(60, 301)), int(rng.integers(1, 3)), rng)
        paths.append(Path(folder, name))
        paths[-1].write_bytes(text.encode())
    return paths


def load_peer(checkout: str) -> Callable[[str], np.ndarray]:
    """Return mmaction2's ``read_xyz`` from a user's checkout."""
    path = os.path.join(checkout, READER)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path!r} does not exist; --peer is a checkout of mmaction2')
    spec = importlib.util.spec_from_file_location('gen_ntu_rgbd_raw', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read_xyz


def measure_readers(folder: str, count: int, rounds: int, peer: str | None) -> dict:
    """Return files per second of our reader and of mmaction2's, in one process.

    Args:
        folder: empty, for the recordings.
        count: number of recordings.
        rounds: measurements of each.
        peer: checkout of mmaction2; None measures ours alone.
    """
    read_peer = None if peer is None else load_peer(peer)
    write_recordings(folder, count)
    reader = NTU120(list_files([folder], NTU120.pattern), bodies='motion')
    files = reader.recordings()
    paths = [file.path for file in files]

    def read(file) -> np.ndarray:
        return reader.read(file)[0]['keypoint']

    cases = dict(ours=Case(lambda: deque(map(read, files), maxlen=0), count))
    if read_peer is not None:
        for file, path in zip(files, paths):
            ours, theirs = read(file), read_peer(path)
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=1e-6):
                raise RuntimeError(f'the readers do not agree about {path}')
        cases['mmaction2'] = Case(lambda: deque(map(read_peer, paths), maxlen=0), count, peer=True)

    megabytes = sum(file.size for file in files) / 1e6
    return dict(files=count, megabytes=megabytes, **compare('prepare', cases, rounds))


def measure_data_set(folder: str, distinct: int, count: int) -> dict:
    """Return time and memory of preparing ``count`` recordings, links to a few distinct files."""
    originals = write_recordings(folder, distinct)
    source = Path(folder, 'source')
    source.mkdir()
    numbers = product(range(1, 33), range(1, 4), range(1, 107), range(1, 3), range(1, 121))
    names = (f'S{s:03}C{c:03}P{p:03}R{r:03}A{a:03}' for s, c, p, r, a in numbers)
    valid = (name for name in names if name not in missing())
    for index, name in zip(range(count), valid):
        os.link(originals[index % distinct], source / f'{name}.skeleton')

    start = perf_counter()
    summary = prepare(NTU120(list_files([str(source)], NTU120.pattern)), f'{folder}/ntu120.pkl')
    seconds = perf_counter() - start

    usages = dict(process=resource.RUSAGE_SELF, largest_worker=resource.RUSAGE_CHILDREN)
    peak = {name: resource.getrusage(who).ru_maxrss / 2**20 for name, who in usages.items()}
    return dict(
        recordings=summary.sequences,
        seconds=seconds,
        files_per_second=count / seconds,
        result_gigabytes=os.path.getsize(f'{folder}/ntu120.pkl') / 1e9,
        peak_gigabytes=peak,
    )
