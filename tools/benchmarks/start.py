"""From a started process to the first batch: ours from an existing cache, and mmaction2's PoseDataset from its pickle.

Every rank is a process of its own that has imported the libraries and then builds its data loader. Memory is what all
processes and their workers hold together (PSS: a page that several share counts once) after a pass over the data,
beyond what the ranks held before they began, beside the size of all arrays.
"""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.progress import track

from .data import skeletons, write_annotations
from .settings import Settings, layout_of, project_config
from .timing import STDERR, Case, Times, figures, quiet, spread


def processes(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        with open(f'/proc/{pid}/task/{pid}/children', encoding='utf-8') as file:
            children = [int(child) for child in file.read().split()]
    except FileNotFoundError:  # it has ended
        return []
    return [pid, *(found for child in children for found in processes(child))]


def shared_memory(pids: list[int]) -> int:
    """Bytes that processes and all that descend from them hold together (PSS)."""
    total = 0
    for pid in (found for root in pids for found in processes(root)):
        with open(f'/proc/{pid}/smaps_rollup', encoding='utf-8') as file:
            total += next(int(line.split()[1]) for line in file if line.startswith('Pss:')) * 1024
    return total


def rank(pipe: Connection, loader: dict) -> None:
    """One rank: says when it is ready, tells the seconds to its first batch, and reads all the others but one."""
    with quiet():
        torch.set_num_threads(1)
        torch.multiprocessing.set_start_method(
            'fork', force=True
        )  # of its workers, as in a training
        init_default_scope('mmaction')
        pipe.send(None)
        pipe.recv()
        start = time.perf_counter()
        batches = Runner.build_dataloader(loader, seed=0)
        iterator = iter(batches)
        next(iterator)
        pipe.send(time.perf_counter() - start)
        for _ in range(len(batches) - 2):  # one stays: workers end after the last
            next(iterator)
        pipe.send(None)
        pipe.recv()


class Starts:
    """Starts all ranks; keeps the seconds of the slowest of each start, and the memory.

    Args:
        settings: number of ranks.
        loader: config of their data loader.
    """

    def __init__(self, settings: Settings, loader: dict) -> None:
        self.settings, self.loader = settings, loader
        self.seconds: list[float] = []
        self.memory: list[int] = []

    def __call__(self) -> None:
        """Starts and ends the ranks."""
        context = torch.multiprocessing.get_context('spawn')
        pipes, ranks = [], []
        for _ in range(self.settings.ranks):
            ours, theirs = context.Pipe()
            pipes.append(ours)
            ranks.append(context.Process(target=rank, args=(theirs, self.loader)))
            ranks[-1].start()
            theirs.close()
        try:
            [pipe.recv() for pipe in pipes]
            pids = [process.pid for process in ranks]
            before = shared_memory(pids)
            [pipe.send(None) for pipe in pipes]
            self.seconds.append(max(pipe.recv() for pipe in pipes))
            [pipe.recv() for pipe in pipes]
            self.memory.append(shared_memory(pids) - before)
            [pipe.send(None) for pipe in pipes]
        except EOFError as error:
            raise RuntimeError('a rank has ended early; its error stands above') from error
        finally:
            for pipe in pipes:
                pipe.close()
            for process in ranks:
                process.join(60)


def measure(settings: Settings) -> dict:
    """Seconds from nothing to the first batch, and memory relative to the size of all arrays."""
    if not os.path.exists('/proc/self/smaps_rollup'):
        raise RuntimeError(
            'memory of several processes is read from /proc/PID/smaps_rollup, which this system lacks; '
            'the part start needs Linux'
        )
    if settings.samples < 2 * settings.batch:
        raise ValueError(
            f'--samples {settings.samples} is less than two batches of {settings.batch}'
        )
    layout = layout_of(project_config(settings))
    x = skeletons(settings, settings.samples, layout)
    ann_file, size = os.path.join(settings.folder, 'start.pkl'), x.nbytes
    write_annotations(ann_file, layout, x, x[:0])
    del x
    ours = project_config(settings, ann_file=ann_file).train_dataloader.to_dict()
    workers = 4 if settings.workers is None else settings.workers
    pose = dict(
        type='PoseDataset',
        ann_file=ann_file,
        split='xsub_train',
        pipeline=[
            dict(type='FormatGCNInput', num_person=settings.people),
            dict(type='PackActionInputs'),
        ],
    )
    # the first start, which is not timed, makes the cache
    starts = dict(
        ours=Starts(settings, ours),
        mmaction2=Starts(
            settings, dict(ours, dataset=pose, num_workers=workers, persistent_workers=workers > 0)
        ),
    )
    for _ in track(range(settings.warmup + settings.rounds), 'Starting', console=STDERR):
        for start in starts.values():
            start()
    cases = {name: Case(start, peer=name == 'mmaction2') for name, start in starts.items()}
    memory = {name: start.memory[settings.warmup :] for name, start in starts.items()}
    times = {
        name: Times(start.seconds[settings.warmup :], max(memory[name]) / 2**20)
        for name, start in starts.items()
    }
    result = figures(cases, times)
    for name, values in memory.items():
        result['measured'][name]['memory_relative_to_arrays'] = spread(
            [value / size for value in values]
        )
    return dict(
        ranks=settings.ranks,
        arrays_gigabytes=size / 1e9,
        workers=dict(ours=ours['num_workers'], mmaction2=workers),
        **result,
    )
