"""Run jobs on several devices, each in a process with its own log."""

from __future__ import annotations

import glob
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from queue import SimpleQueue
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aimclr_mm.engine.console_log import duration

from .jobs import Job
from .records import LOG, Records

POLL = 0.1  # seconds between two checks for a request to stop
GRACE = 10.0  # seconds from SIGTERM to SIGKILL


Devices = dict[str, dict[str, str]]  # environment variables of each place for a job, by its name


def gpu_devices(numbers: Sequence[int], visible: str | None) -> Devices:
    """Return one device per GPU.

    Args:
        numbers: GPUs as torch counts them in this process.
        visible: CUDA_VISIBLE_DEVICES of this process.
    """
    names = visible.split(',') if visible else None
    return {
        f'GPU {n}': {'CUDA_VISIBLE_DEVICES': names[n].strip() if names else str(n)} for n in numbers
    }


def cpu_devices(workers: int, cores: int, limit: int | None = None) -> Devices:
    """Return devices that share the cores of the machine and use no GPU.

    Args:
        workers: number of processes.
        cores: number of cores.
        limit: largest number of threads of a process, such as the user's ``OMP_NUM_THREADS``.
    """
    threads = max(cores // workers, 1)
    threads = str(threads if limit is None else min(threads, limit))
    environment = {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': threads}
    return {f'CPU {number}': environment for number in range(workers)}


@dataclass
class Stop:
    """Number of requests to stop."""

    requests: int = 0


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Count SIGINT, SIGTERM and SIGHUP instead of dying from them, so that no job is left behind.

    A signal that is ignored, as under nohup, stays ignored.
    """
    stop = Stop()

    def request(*_: object) -> None:
        stop.requests += 1

    handlers = {
        number: signal.signal(number, request)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class JobRunner:
    """Run jobs, each as soon as its dependencies are done and a device is free.

    Args:
        records: records of the work directory.
        jobs: jobs to run, the preferred one first; dependencies that are not among them are done.
        devices: one job at a time runs on each.
        stop: ends the run when requested.
        lock: file descriptor of the work directory's lock; the processes inherit it.
        ended: called after each job that is done.
    """

    def __init__(
        self,
        records: Records,
        jobs: Sequence[Job],
        devices: Devices,
        stop: Stop,
        lock: int,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        self.records = records
        self.jobs = {job.name: job for job in jobs}
        self.devices = devices
        self.stop = stop
        self.lock = lock
        self.ended = ended

        self.states = dict.fromkeys(self.jobs, 'waiting')
        self.ready: list[str] = []  # dependencies are done, no device was free
        self.running: dict[Future, str] = {}
        self.free: SimpleQueue[str] = SimpleQueue()
        for device in devices:
            self.free.put(device)

        self.console = Console(soft_wrap=True, highlight=False, markup=False)
        self.progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task('', total=len(self.jobs))

    def run(self) -> dict[str, str]:
        """Run all jobs; return ``done``, ``failed``, ``skipped`` or, after a stop, ``waiting``."""
        graph = TopologicalSorter(
            {name: [n for n in job.after if n in self.jobs] for name, job in self.jobs.items()}
        )
        graph.prepare()
        with self.progress, ThreadPoolExecutor(len(self.devices)) as pool:
            try:
                while graph.is_active() and not self.stop.requests:
                    self._start_ready(graph, pool)
                    self._show()
                    for future in wait(self.running, POLL, FIRST_COMPLETED).done:
                        name = self.running.pop(future)
                        self._collect(self.jobs[name], *future.result())
                        graph.done(name)
                self._show()
            except BaseException:
                self.stop.requests += 1  # end the other jobs, for which the pool waits
                raise

        self.states.update(dict.fromkeys(self.running.values(), 'waiting'))
        return self.states

    def _start_ready(self, graph: TopologicalSorter, pool: ThreadPoolExecutor) -> None:
        """Start ready jobs on the free devices, preferred ones first; skip what cannot run."""
        self.ready = sorted([*self.ready, *graph.get_ready()], key=list(self.jobs).index)
        while self.ready and len(self.running) < len(self.devices):
            job = self.jobs[self.ready.pop(0)]
            if {'failed', 'skipped'} & {self.states.get(name) for name in job.after}:
                self.states[job.name] = 'skipped'
                self.console.print(f'skipped   {job.name}: a job it depends on failed')
                graph.done(job.name)
            else:
                self.states[job.name] = 'running'
                self.running[pool.submit(self._execute, job)] = job.name

    @property
    def left(self) -> int:
        """Number of jobs that have not ended."""
        return sum(state in ('waiting', 'running') for state in self.states.values())

    def _show(self) -> None:
        """Update the progress bar, which is shown on terminals."""
        ended = len(self.jobs) - self.left
        self.progress.update(
            self.task, completed=ended, description=', '.join(self.running.values())
        )

    def _execute(self, job: Job) -> tuple[int | None, float]:
        """Run a job on a free device; return its exit code, None if stopped, and the seconds."""
        device = self.free.get()
        started = time.monotonic()
        resume = self.records.begin(job)
        self.console.print(f'{"resumed" if resume else "started"}   {job.name} on {device}')

        with open(self.records.folder(job.name) / LOG, 'a', encoding='utf-8') as log:
            try:
                command = [self._expand(argument) for argument in job.command]
            except ValueError as error:
                print(f'error: {error}', file=log)
                code = 1
            else:
                command += ['--resume'] if resume else []
                code = self._call(command, self.devices[device], log)

        self.free.put(device)
        return code, time.monotonic() - started

    def _expand(self, argument: str) -> str:
        """Return an argument of a command with the work directory and ``*`` filled in."""
        path = argument.replace('{work}', str(self.records.work_dir))
        if not argument.startswith('{work}') or '*' not in argument:
            return path
        folder, name = os.path.split(path)
        found = glob.glob(os.path.join(glob.escape(folder), name))
        if len(found) != 1:
            raise ValueError(f'{path!r} matches {len(found)} files; there must be one')
        return found[0]

    def _call(self, command: list[str], environment: dict[str, str], log: IO[str]) -> int | None:
        """Run Python and return its exit code; end it and return None after a request to stop.

        The process is killed GRACE seconds after SIGTERM, or after a second request.
        """
        print(f'$ python {shlex.join(command)}', file=log, flush=True)
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
            pass_fds=(self.lock,),
        )
        while not self.stop.requests:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(POLL)

        requests, deadline = self.stop.requests, time.monotonic() + GRACE
        os.killpg(process.pid, signal.SIGTERM)
        while True:
            try:
                process.wait(POLL)
                return None
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline or self.stop.requests > requests:
                    os.killpg(process.pid, signal.SIGKILL)

    def _collect(self, job: Job, code: int | None, seconds: float) -> None:
        """Record how a job ended."""
        if code is None:  # stopped
            self.states[job.name] = 'waiting'
            return

        missing = self.records.missing(job)
        if code or missing:
            self.states[job.name] = 'failed'
            why = f'exit code {code}' if code else f'it did not write {", ".join(missing)}'
            line, log = self.records.last_line(job), self.records.folder(job.name) / LOG
            self.console.print(f'failed    {job.name}: {why}: {line} (log: {log})')
            return

        self.records.finish(job, seconds)
        self.states[job.name] = 'done'
        self.console.print(f'finished  {job.name} in {duration(seconds)}; {self.left} left')
        self.ended()
