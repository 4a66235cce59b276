"""Timing of several implementations in alternation, on top of torch.utils.benchmark."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from itertools import product
from logging import StreamHandler
from statistics import median
from typing import NamedTuple
from unittest.mock import patch

import torch
from mmengine.logging import MMLogger
from rich.progress import track
from torch.utils.benchmark import Compare, Measurement, Timer

MIN_SECONDS = 0.2  # of a measurement; shorter runs are repeated


class Case(NamedTuple):
    """One implementation; ours are compared with each peer."""

    run: Callable[[], object]
    samples: int  # sequences or files that one run handles
    peer: bool = False


def alternate(part: str, cases: Mapping[str, Case], rounds: int) -> dict[str, Measurement]:
    """Time each case once per round; return name -> measurement with the seconds of each round.

    The cases take turns, so that drifts of the machine affect all of them. A case runs once untimed
    before each measurement, since the other cases have displaced its caches.
    """
    timers = {
        name: Timer(
            'run()',
            globals=dict(run=case.run),
            label=part,
            sub_label=name,
            description='time',
            num_threads=torch.get_num_threads(),
        )
        for name, case in cases.items()
    }
    measured = {name: [] for name in cases}
    turns = list(product(range(rounds), cases))
    for _, name in track(turns, f'Measuring {part}'):
        measured[name].append(timers[name].blocked_autorange(min_run_time=MIN_SECONDS))

    return {
        name: Measurement(1, [one.median for one in found], found[0].task_spec)
        for name, found in measured.items()
    }


def spread(values: Sequence[float]) -> dict:
    """Return median, minimum and maximum of the values, and the values."""
    return dict(median=median(values), min=min(values), max=max(values), rounds=list(values))


def figures(cases: Mapping[str, Case], times: Mapping[str, Measurement]) -> dict:
    """Return ``measured`` by name, and ``ratio``: ours -> peer -> time of the peer over ours."""
    measured, ratio = {}, {}
    for name, case in cases.items():
        seconds = spread(times[name].times)
        measured[name] = dict(
            samples=case.samples,
            seconds=seconds,
            samples_per_second=case.samples / seconds['median'],
        )

    peers = [name for name, case in cases.items() if case.peer]
    for name in (name for name in cases if name not in peers):
        ratio[name] = {
            peer: spread([b / a for a, b in zip(times[name].times, times[peer].times)])
            for peer in peers
        }
    return dict(measured=measured, ratio=ratio)


def compare(part: str, cases: Mapping[str, Case], rounds: int) -> dict:
    """Time the cases, print a table on stderr and return the figures."""
    times = alternate(part, cases, rounds)
    table = Compare(list(times.values()))
    table.highlight_warnings()
    print(table, file=sys.stderr)

    result = figures(cases, times)
    for ours, peers in result['ratio'].items():
        for peer, ratio in peers.items():
            values = '{median:.3g} ({min:.3g} to {max:.3g})'.format(**ratio)
            print(f'{peer} / {ours}: {values}', file=sys.stderr)
    return result


@contextmanager
def print_to_stderr() -> Iterator[None]:
    """Send prints and mmengine's log to stderr: stdout is for JSON."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        for handler in MMLogger.get_instance('mmengine').handlers:
            if type(handler) is StreamHandler:
                stack.enter_context(patch.object(handler, 'stream', sys.stderr))
        yield
