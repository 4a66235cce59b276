"""Reading NTU's original files: speed against mmaction2's reader, memory at NTU-120's size."""

from __future__ import annotations

import importlib.util
import os
import resource
from collections import deque
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from rich.progress import track

from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import NTU120, list_files
from aimclr_mm.datasets.readers.ntu import missing

from .measure import STDERR, Case, alternate, figures, timer


def recording(frames: int, bodies: int, rng: np.random.Generator) -> str:
    """Return the text of a ``.skeleton`` file with numbers as Kinect writes them."""
    lines = [str(frames)]
    for _ in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            x, y = rng.normal(size=2)
            lines += [f'7205759403792{body:04} 0 1 1 1 1 0 {x:.7f} {y:.7f} 2', '25']
            joints, rest = rng.normal(size=(25, 3)), 300 * rng.random((25, 8))
            for joint, others in zip(joints, rest):
                numbers = [f'{value:.7f}' for value in joint] + [f'{value:.4f}' for value in others]
                lines.append(' '.join([*numbers, '2']))
    return '\r\n'.join([*lines, ''])


def write_recordings(folder: str, count: int, seed: int = 0) -> list[str]:
    """Write random recordings of 60 to 300 frames with 1 or 2 bodies; return their paths."""
    rng, paths = np.random.default_rng(seed), []
    for i in track(range(count), 'Writing recordings', console=STDERR):
        name = f'S001C001P{i // 60 % 40 + 1:03}R{i // 2400 + 1:03}A{i % 60 + 1:03}.skeleton'
        path = Path(folder, name)
        text = recording(int(rng.integers(60, 301)), int(rng.integers(1, 3)), rng)
        path.write_bytes(text.encode())
        paths.append(str(path))
    return paths


def peer_reader(checkout: str):
    """Return mmaction2's ``read_xyz`` of a user's checkout."""
    path = os.path.join(checkout, 'tools', 'data', 'skeleton', 'gen_ntu_rgbd_raw.py')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path!r} does not exist; --peer is a checkout of mmaction2')
    spec = importlib.util.spec_from_file_location('gen_ntu_rgbd_raw', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read_xyz


def readers(folder: str, count: int, rounds: int, peer: str | None) -> dict:
    """Return files per second of our reader and of mmaction2's, in one process.

    Args:
        folder: empty, for the recordings.
        count: number of recordings.
        rounds: measurements of each.
        peer: checkout of mmaction2; None measures ours alone.

    Raises:
        RuntimeError: if the two do not read the same coordinates.
    """
    write_recordings(folder, count)
    reader = NTU120(list_files([folder], NTU120.pattern), bodies='motion')
    files = reader.recordings()
    read = dict(ours=lambda file: reader.read(file)[0]['keypoint'])
    if peer is not None:
        read_xyz = peer_reader(peer)
        read['mmaction2'] = lambda file: read_xyz(file.path)
        for file in files:
            ours, theirs = (one(file) for one in read.values())
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=1e-6):
                raise RuntimeError(f'the readers do not agree about {file}')

    def consume(one) -> None:
        deque(map(one, files), maxlen=0)

    cases = {
        name: Case(partial(consume, one), len(files), name != 'ours') for name, one in read.items()
    }
    megabytes = sum(file.size for file in files) / 1e6
    found = figures(cases, alternate(cases, rounds))
    return dict(files=len(files), megabytes=megabytes, **found)


def whole_data_set(folder: str, distinct: int, count: int) -> dict:
    """Return time and memory of preparing a data set of NTU-120's size from a few distinct files.

    Args:
        folder: empty, for files and result.
        distinct: number of different files.
        count: number of recordings, at most 2 x 32 x 3 x 106 x 120.
    """
    originals = write_recordings(folder, distinct)
    source = os.path.join(folder, 'source')
    os.makedirs(source)
    numbers = product(range(1, 33), range(1, 4), range(1, 107), range(1, 3), range(1, 121))
    names = (f'S{s:03}C{c:03}P{p:03}R{r:03}A{a:03}' for s, c, p, r, a in numbers)
    names = (name for name in names if name not in missing())
    for index, name in zip(track(range(count), 'Linking recordings', console=STDERR), names):
        os.link(originals[index % distinct], os.path.join(source, f'{name}.skeleton'))

    start, out = timer(), os.path.join(folder, 'ntu120.pkl')
    summary = prepare(NTU120(list_files([source], NTU120.pattern)), out)
    seconds = timer() - start

    usages = dict(process=resource.RUSAGE_SELF, largest_worker=resource.RUSAGE_CHILDREN)
    return dict(
        recordings=summary.sequences,
        seconds=seconds,
        files_per_second=count / seconds,
        result_gigabytes=os.path.getsize(out) / 1e9,
        peak_gigabytes={
            name: resource.getrusage(who).ru_maxrss / 2**20 for name, who in usages.items()
        },
    )
