"""Runs a graph of jobs on several devices, each job as a process of its own with its own log."""

from __future__ import annotations

import glob
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from .graph import Job
from .records import LOG, Records
from .screen import Screen, duration, remaining

POLL = 0.1  # seconds between two looks at the processes
GRACE = 10.0  # seconds that a process is given to end before it is killed


@dataclass(frozen=True)
class Device:
    """Where a job runs: a name to show and variables of its environment."""

    name: str
    environment: tuple[tuple[str, str], ...]


def gpu_devices(numbers: Sequence[int], visible: str | None) -> list[Device]:
    """One device a GPU.

    Args:
        numbers: as torch counts them in this process.
        visible: CUDA_VISIBLE_DEVICES of this process.
    """
    names = [name.strip() for name in visible.split(',')] if visible else None
    return [
        Device(
            f'GPU {number}', (('CUDA_VISIBLE_DEVICES', names[number] if names else str(number)),)
        )
        for number in numbers
    ]


def cpu_devices(workers: int, cores: int) -> list[Device]:
    """Processes that share the cores of a machine and use no GPU."""
    threads = str(max(cores // workers, 1))
    return [
        Device(f'CPU {number}', (('CUDA_VISIBLE_DEVICES', ''), ('OMP_NUM_THREADS', threads)))
        for number in range(workers)
    ]


@dataclass
class Stop:
    """How many requests to stop there were."""

    requests: int = 0


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Collects the requests of Ctrl-C, kill and a closed terminal, so that no process is left behind.

    A signal that is ignored, as by nohup, stays so.
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


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen
    started: float = field(default_factory=time.monotonic)


class JobRunner:
    """Runs jobs, each as soon as those before it are done and a device is free.

    Args:
        records: of the work directory.
        jobs: what has to run, in an order in which it can; jobs before them that are not among these are done.
        devices: as many jobs run at a time.
        stop: ends the run.
        lock: descriptor of the work directory's lock, which the processes inherit.
        ended: called after every job that ended well.
    """

    def __init__(
        self,
        records: Records,
        jobs: Sequence[Job],
        devices: Sequence[Device],
        stop: Stop,
        lock: int,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.records, self.devices, self.stop, self.lock, self.ended = (
            records,
            devices,
            stop,
            lock,
            ended,
        )
        self.waiting = list(jobs)
        self.total = len(self.waiting)
        self.running: dict[Device, _Running] = {}
        self.states = dict.fromkeys((job.name for job in jobs), 'waiting')
        self.seconds: dict[str, list[float]] = {}  # by kind of job
        self.screen = Screen(self.total)

    def run(self) -> dict[str, str]:
        """Runs everything; returns ``done``, ``failed``, ``skipped`` or, after a stop, ``waiting`` for each job."""
        with self.screen:
            try:
                while (self.waiting or self.running) and not self.stop.requests:
                    self._start_ready()
                    self.screen.update(
                        self.total - len(self.waiting) - len(self.running),
                        [running.job.name for running in self.running.values()],
                    )
                    time.sleep(POLL)
                    self._collect()
            finally:
                self._end_all()
        return self.states

    def _start_ready(self) -> None:
        for job in list(self.waiting):
            before = {self.states.get(name, 'done') for name in job.after}
            if before & {'failed', 'skipped'}:
                self.waiting.remove(job)
                self.states[job.name] = 'skipped'
                self.screen.line(f'skipped   {job.name}: a job before it failed')
            elif before <= {'done'}:
                free = next((device for device in self.devices if device not in self.running), None)
                if free is None:
                    return
                self.waiting.remove(job)
                self._start(job, free)

    def _start(self, job: Job, device: Device) -> None:
        checkpoint = self.records.begin(job)
        with open(os.path.join(self.records.folder(job.name), LOG), 'a', encoding='utf-8') as log:
            try:
                command = [self._expand(argument) for argument in job.command]
            except ValueError as error:
                log.write(f'error: {error}\n')
                log.flush()
                self._fail(job)
                return
            command += ['--resume', checkpoint] if checkpoint else []
            log.write(f'$ python {shlex.join(command)}\n')
            log.flush()
            process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **dict(device.environment)},
                start_new_session=True,
                pass_fds=(self.lock,),
            )
        self.running[device] = _Running(job, process)
        self.states[job.name] = 'running'
        how = (
            f'resumed   {job.name} after {os.path.basename(checkpoint)}'
            if checkpoint
            else f'started   {job.name}'
        )
        self.screen.line(f'{how} on {device.name}')

    def _expand(self, argument: str) -> str:
        """An argument with the work directory, and the file that it stands for, put in."""
        path = argument.replace('{work}', self.records.work_dir)
        if not argument.startswith('{work}') or '*' not in argument:
            return path
        found = glob.glob(os.path.join(glob.escape(os.path.dirname(path)), os.path.basename(path)))
        if len(found) != 1:
            raise ValueError(f'{path!r} stands for {len(found)} files; there must be one')
        return found[0]

    def _collect(self) -> None:
        for device, running in list(self.running.items()):
            code = running.process.poll()
            if code is None:
                continue
            del self.running[device]
            job, seconds = running.job, time.monotonic() - running.started
            missing = self.records.missing(job)
            if code or missing:
                self._fail(
                    job,
                    f'exit code {code}: '
                    if code
                    else f'it ended without writing {", ".join(missing)}: ',
                )
                continue
            self.records.finish(job, seconds)
            self.states[job.name] = 'done'
            self.seconds.setdefault(job.kind, []).append(seconds)
            self.screen.line(f'finished  {job.name} in {duration(seconds)}; {self._outlook()}')
            self.ended()

    def _fail(self, job: Job, why: str = '') -> None:
        self.states[job.name] = 'failed'
        log = os.path.join(self.records.folder(job.name), LOG)
        self.screen.line(f'failed    {job.name}: {why}{self.records.last_line(job)} (log: {log})')

    def _outlook(self) -> str:
        """How many jobs are left and how long they will take."""
        left = [*self.waiting, *(running.job for running in self.running.values())]
        if not left:
            return 'nothing is left'
        seconds = remaining([job.kind for job in left], self.seconds, len(self.devices))
        return f'{len(left)} of {self.total} left' + (
            f', about {duration(seconds)}' if seconds is not None else ''
        )

    def _end_all(self) -> None:
        """Ends the processes and waits for them; a second request to stop kills them at once."""
        requests, deadline = self.stop.requests, time.monotonic() + GRACE
        processes = [running.process for running in self.running.values()]
        for process in processes:
            _signal(process, signal.SIGTERM)
        while any(process.poll() is None for process in processes):
            if time.monotonic() > deadline or self.stop.requests > requests:
                for process in processes:
                    _signal(process, signal.SIGKILL)
            time.sleep(POLL / 4)
        for running in self.running.values():
            self.states[running.job.name] = 'waiting'


def _signal(process: subprocess.Popen, number: int) -> None:
    """Sends a signal to a process that is still alive and to its own."""
    if process.poll() is None:
        os.killpg(process.pid, number)
