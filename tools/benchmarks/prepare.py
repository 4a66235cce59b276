"""Reading NTU's original files: speed beside mmaction2's reader, and memory at the size of NTU-120."""

from __future__ import annotations

import importlib.util
import os
import resource
import time
from collections import deque
from functools import partial
from itertools import product

import numpy as np
from rich.progress import track

from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import NTU120, list_files
from aimclr_mm.datasets.readers.ntu import missing

from .timing import STDERR, Case, alternate, figures


def _recording(frames: int, bodies: int, rng: np.random.Generator) -> str:
    """The text of a ``.skeleton`` file with numbers as Kinect writes them."""
    lines = [str(frames)]
    for _ in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            lines += [
                f'7205759403792{body:04} 0 1 1 1 1 0 {rng.normal():.7f} {rng.normal():.7f} 2',
                '25',
            ]
            places, rest = rng.normal(size=(25, 3)), 300 * rng.random((25, 8))
            lines += [
                ' '.join(
                    [
                        *(f'{value:.7f}' for value in place),
                        *(f'{value:.4f}' for value in others),
                        '2',
                    ]
                )
                for place, others in zip(places, rest)
            ]
    return '\r\n'.join([*lines, ''])


def _write(folder: str, count: int, seed: int = 0) -> list[str]:
    """Made-up recordings of 60 to 300 frames with 1 or 2 bodies; returns their paths."""
    rng, paths = np.random.default_rng(seed), []
    for index in track(range(count), 'Making up recordings', console=STDERR):
        name = f'S001C001P{index // 60 % 40 + 1:03}R{index // 2400 + 1:03}A{index % 60 + 1:03}.skeleton'
        path = os.path.join(folder, name)
        with open(path, 'w', newline='') as file:
            file.write(_recording(int(rng.integers(60, 301)), int(rng.integers(1, 3)), rng))
        paths.append(path)
    return paths


def _peer(checkout: str):
    """mmaction2's ``read_xyz``, from the user's own checkout."""
    path = os.path.join(checkout, 'tools', 'data', 'skeleton', 'gen_ntu_rgbd_raw.py')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path!r} does not exist; --peer is a checkout of mmaction2')
    spec = importlib.util.spec_from_file_location('gen_ntu_rgbd_raw', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read_xyz


def readers(folder: str, count: int, rounds: int, peer: str | None) -> dict:
    """Files per second of our reader, and of mmaction2's on the same files, in one process.

    Args:
        folder: empty, for the made-up files.
        count: number of files.
        rounds: how often each reads all of them.
        peer: checkout of mmaction2; None measures ours alone.

    Raises:
        RuntimeError: if the two do not read the same coordinates.
    """
    _write(folder, count)
    reader = NTU120(list_files([folder], NTU120.pattern), bodies='motion')
    files = reader.recordings()
    read = dict(ours=lambda file: reader.read(file)[0]['keypoint'])
    if peer is not None:
        read_xyz = _peer(peer)
        read['mmaction2'] = lambda file: read_xyz(file.path)
        for file in files:
            ours, theirs = (one(file) for one in read.values())
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=1e-6):
                raise RuntimeError(f'the readers do not agree about {file}')
    # one after the other, nothing kept: deque(maxlen=0) only consumes
    cases = {
        name: Case(
            partial(lambda one: deque(map(one, files), maxlen=0), one), len(files), name != 'ours'
        )
        for name, one in read.items()
    }
    return dict(
        files=len(files),
        megabytes=sum(file.size for file in files) / 1e6,
        **figures(cases, alternate(cases, rounds)),
    )


def whole_data_set(folder: str, distinct: int, count: int) -> dict:
    """Time and memory of preparing NTU-120 in size: names of their own, the content of some distinct files.

    Args:
        folder: empty, for files and result.
        distinct: number of different files.
        count: number of recordings, at most 2 x 32 x 3 x 106 x 120.
    """
    originals = _write(folder, distinct)
    source = os.path.join(folder, 'source')
    os.makedirs(source)
    numbers = product(range(1, 33), range(1, 4), range(1, 107), range(1, 3), range(1, 121))
    names = (
        name
        for name in (f'S{s:03}C{c:03}P{p:03}R{r:03}A{a:03}' for s, c, p, r, a in numbers)
        if name not in missing()
    )
    for index, name in zip(track(range(count), 'Linking recordings', console=STDERR), names):
        os.link(originals[index % distinct], os.path.join(source, f'{name}.skeleton'))
    start = time.perf_counter()
    out = os.path.join(folder, 'ntu120.pkl')
    summary = prepare(NTU120(list_files([source], NTU120.pattern)), out)
    seconds = time.perf_counter() - start
    peak = {
        name: resource.getrusage(who).ru_maxrss / 2**20
        for name, who in (
            ('process', resource.RUSAGE_SELF),
            ('largest_worker', resource.RUSAGE_CHILDREN),
        )
    }
    return dict(
        recordings=summary.sequences,
        seconds=seconds,
        files_per_second=count / seconds,
        result_gigabytes=os.path.getsize(out) / 1e9,
        peak_gigabytes=peak,
    )
