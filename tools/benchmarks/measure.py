"""Timing of several implementations in alternation, peak memory, and the machine they ran on."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from logging import StreamHandler
from pathlib import Path
from statistics import median
from timeit import Timer
from typing import NamedTuple

import mmaction
import mmengine
import torch
from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import Progress
from torch.utils.benchmark import timer  # time.perf_counter after a GPU has finished

from aimclr_mm.engine.hooks.provenance import source
from aimclr_mm.version import __version__

STDERR = Console(stderr=True, width=None if sys.stderr.isatty() else 120)  # stdout is for JSON
STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


class Case(NamedTuple):
    """One implementation to measure.

    Args:
        run: function that is timed.
        samples: sequences that it handles; None where a rate means nothing.
        peer: whether ours are compared with it.
        repeats: runs per measurement, for short ones.
        scale: factor of the time, for a part that stands for a whole.
    """

    run: Callable[[], object]
    samples: int | None = None
    peer: bool = False
    repeats: int = 1
    scale: float = 1.0

    def seconds(self) -> float:
        """Return the seconds of one run."""
        return Timer(self.run, timer=timer).timeit(self.repeats) / self.repeats * self.scale


@dataclass
class Times:
    """Seconds of each round; peak memory in MiB and result of the last run before them."""

    seconds: list[float] = field(default_factory=list)
    peak_memory: float | None = None
    result: object = None


class PeakMemory:
    """Peak memory inside a ``with`` block minus that in use before it, in MiB.

    Tensors on a GPU; on a CPU the resident set of this process without its workers, on Linux only
    (None elsewhere).
    """

    mebibytes: float | None = None
    before: int | None = None

    def __enter__(self) -> PeakMemory:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return self

        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)  # memory kept by malloc would hide a rise
        with suppress(OSError):
            CLEAR.write_text('5')  # resets the high-water mark
            self.before = _status('VmRSS')
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            cuda = torch.cuda.is_available()
            peak = torch.cuda.max_memory_allocated() if cuda else _status('VmHWM')
            self.mebibytes = max(peak - self.before, 0) / 2**20


def _status(name: str) -> int:
    """Return the bytes in a line of this process' status."""
    lines = dict(line.split(':', 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def warm_up(case: Case, runs: int) -> Times:
    """Run a case untimed; the last run gives peak memory and result."""
    for _ in range(runs - 1):
        case.run()
    with PeakMemory() as memory:
        result = case.run()
        timer()  # waits for a GPU
    return Times(peak_memory=memory.mebibytes, result=result)


def alternate(
    cases: Mapping[str, Case], rounds: int, warmup: int = 1, progress: bool = True
) -> dict[str, Times]:
    """Time each case once per round; the cases take turns, so that drifts meet all of them.

    Args:
        cases: by name.
        rounds: measurements of each.
        warmup: runs of each before, at least 1, of which the last gives the memory. One more
            follows, since measuring the memory of one takes the freed memory of the others.
        progress: show a progress bar on stderr.
    """
    times = {}
    with Progress(console=STDERR, disable=not progress) as bar:
        task = bar.add_task('', total=len(cases) * (rounds + 1))
        for name, case in cases.items():
            bar.update(task, advance=1, description=f'Warming up: {name}')
            times[name] = warm_up(case, warmup)
        for case in cases.values():
            case.run()
        for _ in range(rounds):
            for name, case in cases.items():
                bar.update(task, advance=1, description=f'Measuring: {name}')
                times[name].seconds.append(case.seconds())
    return times


def spread(values: Sequence[float]) -> dict:
    """Return median, minimum and maximum of values, and the values."""
    return dict(median=median(values), min=min(values), max=max(values), rounds=list(values))


def figures(cases: Mapping[str, Case], times: Mapping[str, Times]) -> dict:
    """Return the measurements, and how many times longer each peer takes, round by round.

    Returns:
        ``measured``: name -> ``seconds``, ``samples_per_second``, ``peak_memory_mib``; ``ratio``:
        name of ours -> name of the peer -> ratios of the times.
    """
    measured, ratio = {}, {}
    for name, case in cases.items():
        seconds, memory = times[name].seconds, times[name].peak_memory
        measured[name] = dict(peer=case.peer, seconds=spread(seconds), peak_memory_mib=memory)
        if case.samples is not None:
            rates = [case.samples / value for value in seconds]
            measured[name].update(samples=case.samples, samples_per_second=spread(rates))
        if not case.peer:
            ratio[name] = {
                other: spread([b / a for a, b in zip(seconds, times[other].seconds)])
                for other in cases
                if cases[other].peer
            }
    return dict(measured=measured, ratio=ratio)


@contextmanager
def quiet() -> Iterator[None]:
    """Send prints to stderr and log no more than warnings there: stdout is for JSON."""
    logger = MMLogger.get_instance('mmengine')
    with ExitStack() as stack:
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel('WARNING')
        for handler in logger.handlers:
            if type(handler) is StreamHandler:
                stack.callback(handler.setStream, handler.stream)
                handler.setStream(sys.stderr)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def describe() -> dict:
    """Return CPU, GPU, threads, load, commit and versions."""
    with suppress(OSError):
        cpu = Path('/proc/cpuinfo').read_text().partition('model name')[2]
        cpu = cpu.partition('\n')[0].lstrip('\t: ')
    commit = source()
    return dict(
        cpu=cpu or platform.processor(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        instructions=torch.backends.cpu.get_cpu_capability(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        load_before=os.getloadavg()[0],
        commit=commit and commit['commit'] + ('+' if commit['changed'] else ''),
        versions=dict(
            aimclr_mm=__version__,
            python=platform.python_version(),
            torch=torch.__version__,
            mmengine=mmengine.__version__,
            mmaction2=mmaction.__version__,
        ),
    )


def ceilings(device: str) -> dict[str, float]:
    """Return the rates of large matrix products (GFLOP/s) and of memory traffic (GB/s) in torch.

    Products of square matrices, 2048 wide (8192 on a GPU); a + s b -> c with arrays larger than any
    cache, counted as two reads and one write.
    """
    size, numbers = (8192, 2**28) if device == 'cuda' else (2048, 2**26)

    def rate(amount: float, run: Callable[[], object]) -> float:
        return amount / min(Timer(run, timer=timer).repeat(3, 1)) / 1e9

    result = {}
    for name in ('float32', 'bfloat16'):
        x = torch.randn(size, size, device=device, dtype=getattr(torch, name))
        result[f'matmul_{name}_gflops'] = rate(2 * size**3, lambda x=x: torch.mm(x, x))
    a, b, c = (torch.ones(numbers, device=device) for _ in range(3))
    traffic = rate(3 * 4 * numbers, lambda: torch.add(a, b, alpha=2.0, out=c))
    return dict(result, memory_gbs=traffic)
