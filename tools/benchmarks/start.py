"""From a started process to the first batch: ours from a cache, mmaction2 from its pickle.

Each rank is a process that has imported the libraries and then builds its data loader. Memory is
what all processes and their workers hold together (PSS: a shared page counts once) after a pass
over the data, minus what the ranks held before, relative to the size of all arrays.
"""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.progress import track

from .measure import STDERR, Case, Times, figures, quiet, spread, timer
from .settings import Settings, layout_of, project_config, skeletons, write_annotations


def processes(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    except FileNotFoundError:  # it has ended
        return []
    return [pid, *(found for child in children for found in processes(int(child)))]


def shared_memory(pids: list[int]) -> int:
    """Return the bytes that processes and their descendants hold together (PSS)."""
    total = 0
    for pid in (found for root in pids for found in processes(root)):
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith('Pss:')) * 1024
    return total


def rank(pipe: Connection, loader: dict) -> None:
    """Send a sign, the seconds to the first batch, and a sign after the other batches but one."""
    with quiet():
        torch.set_num_threads(1)
        torch.multiprocessing.set_start_method('fork', force=True)  # as workers of a training
        init_default_scope('mmaction')
        pipe.send(None)
        pipe.recv()

        start = timer()
        batches = Runner.build_dataloader(loader, seed=0)
        iterator = iter(batches)
        next(iterator)
        pipe.send(timer() - start)

        for _ in range(len(batches) - 2):  # workers end after the last batch
            next(iterator)
        pipe.send(None)
        pipe.recv()


def start(ranks: int, loader: dict) -> tuple[float, int]:
    """Start and end ranks; return the seconds of the slowest, and the bytes of all."""
    context = torch.multiprocessing.get_context('spawn')
    pipes, started = [], []
    for _ in range(ranks):
        ours, theirs = context.Pipe()
        pipes.append(ours)
        started.append(context.Process(target=rank, args=(theirs, loader)))
        started[-1].start()
        theirs.close()

    pids = [process.pid for process in started]
    try:
        receive(pipes)
        before = shared_memory(pids)
        send(pipes)
        seconds = max(receive(pipes))
        receive(pipes)
        memory = shared_memory(pids) - before
        send(pipes)
        return seconds, memory
    except EOFError as error:
        raise RuntimeError('a rank has ended early; its error is shown above') from error
    finally:
        for pipe, process in zip(pipes, started):
            pipe.close()
            process.join(60)


def send(pipes: list[Connection]) -> None:
    """Send a sign to all ranks."""
    for pipe in pipes:
        pipe.send(None)


def receive(pipes: list[Connection]) -> list:
    """Receive from all ranks."""
    return [pipe.recv() for pipe in pipes]


def measure(settings: Settings) -> dict:
    """Return seconds to the first batch, and memory relative to the size of all arrays."""
    if not os.path.exists('/proc/self/smaps_rollup'):
        raise RuntimeError('/proc/self/smaps_rollup is missing; the part start needs Linux')
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
    pipeline = [dict(type='FormatGCNInput', num_person=settings.people)]
    pose = dict(type='PoseDataset', ann_file=ann_file, split='xsub_train')
    pose['pipeline'] = [*pipeline, dict(type='PackActionInputs')]
    theirs = dict(ours, dataset=pose, num_workers=workers, persistent_workers=workers > 0)

    found = dict(ours=[], mmaction2=[])  # the first start, which is not timed, makes the cache
    for _ in track(range(settings.warmup + settings.rounds), 'Starting', console=STDERR):
        for name, loader in dict(ours=ours, mmaction2=theirs).items():
            found[name].append(start(settings.ranks, loader))

    cases, times, memory = {}, {}, {}
    for name, starts in found.items():
        seconds, memory[name] = map(list, zip(*starts[settings.warmup :]))
        cases[name] = Case(start, peer=name == 'mmaction2')
        times[name] = Times(seconds, max(memory[name]) / 2**20)
    result = figures(cases, times)
    for name, values in memory.items():
        relative = spread([value / size for value in values])
        result['measured'][name]['memory_relative_to_arrays'] = relative
    return dict(
        ranks=settings.ranks,
        arrays_gigabytes=size / 1e9,
        workers=dict(ours=ours['num_workers'], mmaction2=workers),
        **result,
    )
