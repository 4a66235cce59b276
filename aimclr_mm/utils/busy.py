"""Notice other programs on the cores that the threads of torch need."""

from __future__ import annotations

import os

import torch

OWN_LOAD = 0.2  # what the start of a command adds to the load of the last minute


def busy_note(threads: int, cores: int, load: float, processes: int = 1) -> str | None:
    """Return a line for the log if there are more threads than idle cores, else None.

    Threads wait for one another actively, so that a step takes many times as long as soon as one
    of them has to share its core. The number is not changed, because it rounds sums differently.

    Args:
        threads: threads of each process.
        cores: cores that they may use.
        load: mean number of running programs over the last minute.
        processes: processes that train together on this machine.
    """
    idle = cores - max(load - OWN_LOAD, 0)
    if threads < 2 or threads * processes <= idle + 0.5:
        return None
    fewer = max(int(idle) // processes, 1)
    each = f' in each of {processes} processes' if processes > 1 else ''
    return (
        f'{threads} threads{each}, but {cores} cores with load {load:.1f}: '
        f'OMP_NUM_THREADS={fewer} is often faster'
    )


def machine_busy_note(processes: int = 1) -> str | None:
    """Return :func:`busy_note` for the threads of torch here; None where no load is known.

    Args:
        processes: processes on this machine with as many threads each.
    """
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows, or a system that does not tell
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return busy_note(torch.get_num_threads(), cores or 1, load, processes)
