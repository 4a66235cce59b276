"""Timing of several implementations in alternation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from logging import StreamHandler
from statistics import median
from typing import NamedTuple

import torch
from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import Progress

from .machine import PeakMemory

STDERR = Console(
    stderr=True, width=None if sys.stderr.isatty() else 120
)  # stdout is for the figures


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing but figures goes to stdout: prints go to stderr, and the libraries log no more than warnings."""
    logger = MMLogger.get_instance('mmengine')
    with ExitStack() as stack:
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel('WARNING')
        for handler in logger.handlers:
            if type(handler) is StreamHandler:
                stack.callback(handler.setStream, handler.setStream(sys.stderr) or sys.stderr)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


class Case(NamedTuple):
    """Something to measure.

    Args:
        run: what is timed.
        samples: sequences that it handles; None where a rate means nothing.
        peer: whether it is an implementation that ours are compared with.
        repeats: runs of one measurement, for what is too short for one.
        scale: factor of the time, for a part that stands for a whole.
    """

    run: Callable[[], object]
    samples: int | None = None
    peer: bool = False
    repeats: int = 1
    scale: float = 1.0


@dataclass
class Times:
    """Seconds of one run in each round; of the last run before them its peak memory in MiB and its result."""

    seconds: list[float] = field(default_factory=list)
    peak_memory: float | None = None
    result: object = None


def synchronize(device: str) -> None:
    """Waits until a GPU has done what it was given."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()


def warm_up(case: Case, device: str, times: Times, runs: int) -> None:
    """Runs a case without timing it; the last run gives peak memory (see :class:`PeakMemory`) and result."""
    for _ in range(runs - 1):
        case.run()
    synchronize(device)
    with PeakMemory(device) as memory:
        times.result = case.run()
        synchronize(device)
    times.peak_memory = memory.mebibytes


def clock(case: Case, device: str, times: Times) -> None:
    """Times a case once."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(case.repeats):
        case.run()
    synchronize(device)
    times.seconds.append((time.perf_counter() - start) / case.repeats * case.scale)


def alternate(
    cases: Mapping[str, Case],
    rounds: int,
    warmup: int = 1,
    device: str = 'cpu',
    progress: bool = True,
) -> dict[str, Times]:
    """Times each case in each round; the cases take turns, so that a drift of the machine meets all of them.

    Args:
        cases: by name.
        rounds: how often each is timed.
        warmup: runs of each before, at least 1; the last of them is that whose memory is measured. One more follows.
        device: ``cpu`` or ``cuda``.
        progress: show a progress bar on stderr.
    """
    times = {name: Times() for name in cases}
    with Progress(console=STDERR, disable=not progress) as bar:
        task = bar.add_task('', total=len(cases) * (rounds + 2))
        for name, case in cases.items():
            bar.update(task, description=f'Warming up: {name}')
            warm_up(case, device, times[name], warmup)
            bar.advance(task)
        for (
            case
        ) in cases.values():  # measuring the memory of one has taken the freed memory of the others
            case.run()
            bar.advance(task)
        for _ in range(rounds):
            for name, case in cases.items():
                bar.update(task, description=f'Measuring: {name}')
                clock(case, device, times[name])
                bar.advance(task)
    return times


def spread(values: Sequence[float]) -> dict:
    """Median, least and largest of some figures, and the figures."""
    return dict(median=median(values), min=min(values), max=max(values), rounds=list(values))


def figures(cases: Mapping[str, Case], times: Mapping[str, Times]) -> dict:
    """What was measured, and how many times longer each peer takes than each of ours, round by round.

    Returns:
        ``measured``: name -> ``seconds``, ``samples_per_second``, ``peak_memory_mib``; ``ratio``: name of ours -> name
        of peer -> ratio of the times of each round.
    """
    measured, ratio = {}, {}
    for name, case in cases.items():
        seconds = times[name].seconds
        measured[name] = dict(
            peer=case.peer, seconds=spread(seconds), peak_memory_mib=times[name].peak_memory
        )
        if case.samples is not None:
            measured[name].update(
                samples=case.samples,
                samples_per_second=spread([case.samples / value for value in seconds]),
            )
        if not case.peer:
            ratio[name] = {
                other: spread(
                    [theirs / ours for ours, theirs in zip(seconds, times[other].seconds)]
                )
                for other in cases
                if cases[other].peer
            }
    return dict(measured=measured, ratio=ratio)
