"""Records of the jobs in a work directory: finished ones, ones to resume, ones of other settings.

A job's folder holds ``job.json`` once it was started and ``done.json`` once it is done; both name
its command and settings. A result counts until one of its inputs is computed again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from aimclr_mm.utils.files import atomic_write, read_json

from .jobs import TRAININGS, Job

STARTED, DONE, LOG = 'job.json', 'done.json', 'log.txt'


@contextmanager
def work_dir_lock(work_dir: str) -> Iterator[int]:
    """Lock a work directory for one call; yield the file descriptor that holds the lock.

    Jobs inherit the descriptor. Unlike with filelock, the lock therefore outlives a call that
    was killed for as long as one of its jobs still runs.

    Raises:
        ValueError: if another call, or a job of a killed one, runs there.
    """
    os.makedirs(work_dir, exist_ok=True)
    descriptor = os.open(os.path.join(work_dir, '.lock'), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f'{work_dir!r} is in use by another reproduce.py, or by a job of one that was '
                'killed; wait for it, end it, or give another --work-dir'
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)


def identity(job: Job) -> dict[str, Any]:
    """Return the command and settings that a record must share with a job."""
    digest = job.training.digest if job.training is not None and job.kind in TRAININGS else ''
    return dict(command=list(job.command), settings=digest)


def matches(record: dict[str, Any], job: Job) -> bool:
    """Return whether a record is of a job with the present command and settings."""
    return all(record.get(key) == value for key, value in identity(job).items())


class Records:
    """Folders of jobs in a work directory.

    Args:
        work_dir: work directory.
        jobs: jobs by name; each comes after those it depends on.
    """

    def __init__(self, work_dir: str, jobs: Mapping[str, Job]) -> None:
        self.work_dir = Path(work_dir)
        self.jobs = jobs

    def folder(self, name: str) -> Path:
        """Return the folder of a job."""
        return self.work_dir / name

    def read(self, name: str, file: str = DONE) -> dict[str, Any]:
        """Return a record of a job; empty if it is missing or damaged."""
        try:
            content = read_json(str(self.folder(name) / file))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def finished(self, job: Job) -> bool:
        """Return whether a job is done, with its present command and the present inputs."""
        done = self.read(job.name)
        if not matches(done, job) or self.missing(job):
            return False

        used = done.get('inputs')
        return isinstance(used, dict) and all(
            used.get(name) == stamp for name, stamp in self._stamps(job).items() if stamp
        )

    def needed(self, wanted: Iterable[str]) -> list[Job]:
        """Return the jobs that have to run for some results, in the order of the plan.

        Inputs of finished jobs are not needed: a checkpoint may be deleted after its evaluation.
        """
        found: set[str] = set()
        queue = list(wanted)
        while queue:
            name = queue.pop()
            if name not in found and not self.finished(self.jobs[name]):
                found.add(name)
                queue += self.jobs[name].after
        return [job for name, job in self.jobs.items() if name in found]

    def check(self) -> None:
        """Raise ValueError if a training of the plan was started with other settings."""
        for job in self.jobs.values():
            started = self.read(job.name, STARTED)
            if job.kind not in TRAININGS or not started or matches(started, job):
                continue
            same = started.get('command') == list(job.command)
            raise ValueError(
                f'{str(self.folder(job.name))!r} was started '
                f'{"before its config changed" if same else "by another command"} '
                f'(see {STARTED} and the config in it); move or delete that folder, or give '
                'another --work-dir'
            )

    def begin(self, job: Job) -> bool:
        """Prepare a job's folder; return whether a training resumes from a checkpoint in it.

        A training of inputs that were computed again since it was started begins from scratch.
        """
        folder = self.folder(job.name)
        record = dict(identity(job), inputs=self._stamps(job))
        started = self.read(job.name, STARTED)
        resume = job.kind in TRAININGS and started == record and any(folder.glob('*.pth'))
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        self._write(job, STARTED, record)
        return resume

    def finish(self, job: Job, seconds: float) -> None:
        """Record that a job is done."""
        record = dict(
            identity(job),
            seconds=round(seconds, 1),
            inputs=self._stamps(job),
            finished=datetime.now().astimezone().isoformat(),
        )
        self._write(job, DONE, record)

    def _stamps(self, job: Job) -> dict[str, str | None]:
        """Return when the inputs of a job were computed."""
        return {name: self.read(name).get('finished') for name in job.after}

    def _write(self, job: Job, file: str, content: dict[str, Any]) -> None:
        with atomic_write(str(self.folder(job.name) / file)) as stream:
            stream.write(json.dumps(content, indent=2) + '\n')

    def missing(self, job: Job) -> list[str]:
        """Return the results that a job has not written."""
        return [file for file in job.results if not (self.folder(job.name) / file).is_file()]

    def last_line(self, job: Job) -> str:
        """Return the last line of a job's log."""
        text = (self.folder(job.name) / LOG).read_text(encoding='utf-8', errors='replace')
        return text.rstrip().rpartition('\n')[-1].strip() or 'no output'
