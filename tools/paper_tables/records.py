"""What a work directory tells of jobs: which are finished, which can go on, which were made with other settings.

A job's folder holds ``job.json`` from its start on and ``done.json`` once it ended well; both say by which command and
settings. A result counts as long as the results that it was made from have not been made anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from aimclr_mm.utils.files import atomic_write, read_json

from .graph import TRAININGS, Job

STARTED, DONE, LOG = 'job.json', 'done.json', 'log.txt'


@contextmanager
def work_dir_lock(work_dir: str) -> Iterator[int]:
    """Holds a work directory for one call; yields the file descriptor that holds it.

    Jobs inherit the descriptor. So the lock outlives a call that was killed for as long as a job that it has left
    behind is still writing, which filelock's locks do not.

    Raises:
        ValueError: if another call, or a job that one left behind, is at work there.
    """
    os.makedirs(work_dir, exist_ok=True)
    path = os.path.join(work_dir, '.lock')
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f'{work_dir!r} is in use by another reproduce.py, or by a run that one left behind when '
                'it was killed; wait for it, end it, or give another --work-dir'
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)


def identity(job: Job) -> dict[str, Any]:
    """What must be the same for a result to be that of a job."""
    digest = job.training.digest if job.training is not None and job.kind in TRAININGS else ''
    return dict(command=list(job.command), settings=digest)


class Records:
    """The jobs' folders of a work directory.

    Args:
        work_dir: the folder.
        jobs: the plan's jobs by name.
    """

    def __init__(self, work_dir: str, jobs: Mapping[str, Job]) -> None:
        self.work_dir, self.jobs = work_dir, jobs

    def folder(self, name: str) -> str:
        """Folder of a job."""
        return os.path.join(self.work_dir, name)

    def read(self, name: str, file: str = DONE) -> dict[str, Any]:
        """A record of a job; empty if there is none or it is damaged."""
        try:
            content = read_json(os.path.join(self.folder(name), file))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def finished(self, job: Job) -> bool:
        """Whether a job's results are there, by this command, from the present results of the jobs before it."""
        done, folder = self.read(job.name), self.folder(job.name)
        if any(done.get(key) != value for key, value in identity(job).items()):
            return False
        if not all(os.path.isfile(os.path.join(folder, result)) for result in job.results):
            return False
        present = {name: self.read(name).get('finished') for name in job.after}
        used = done.get('inputs')
        return isinstance(used, dict) and all(
            used.get(name) == stamp for name, stamp in present.items() if stamp
        )

    def needed(self, wanted: Iterable[str]) -> list[Job]:
        """Jobs that have to run for some results, in the order of the plan.

        What only finished jobs were made from is not asked for: a checkpoint may be deleted after its evaluation.
        """
        found, queue = set(), list(wanted)
        while queue:
            name = queue.pop()
            if name not in found and not self.finished(self.jobs[name]):
                found.add(name)
                queue += self.jobs[name].after
        return [job for name, job in self.jobs.items() if name in found]

    def check(self) -> None:
        """Raises ValueError if a training of the plan was begun with other settings."""
        for job in self.jobs.values():
            begun = self.read(job.name, STARTED)
            if (
                job.kind in TRAININGS
                and begun
                and any(begun.get(key) != v for key, v in identity(job).items())
            ):
                same = begun.get('command') == list(job.command)
                raise ValueError(
                    f'{self.folder(job.name)!r} was begun '
                    f'{"before its config changed" if same else "by another command"} (see {STARTED} and '
                    'the config in it); move or delete that folder, or give another --work-dir'
                )

    def checkpoint(self, job: Job) -> str | None:
        """The newest whole checkpoint of a training, by which it can be resumed."""
        folder = self.folder(job.name)
        if job.kind not in TRAININGS or not os.path.isdir(folder):
            return None
        epochs = sorted(
            (
                int(match[1])
                for match in (
                    re.fullmatch(r'epoch_(\d+)\.pth', name) for name in os.listdir(folder)
                )
                if match
            ),
            reverse=True,
        )
        paths = (os.path.join(folder, f'epoch_{epoch}.pth') for epoch in epochs)
        # a file that was cut off while it was written lacks the end of a zip archive, by which torch saves
        return next((path for path in paths if zipfile.is_zipfile(path)), None)

    def begin(self, job: Job) -> str | None:
        """Makes a job's folder ready; returns the checkpoint to resume from, or None after cleaning the folder."""
        folder, checkpoint = self.folder(job.name), self.checkpoint(job)
        if checkpoint is None:
            shutil.rmtree(folder, ignore_errors=True)
        self._write(job, STARTED, identity(job))
        return checkpoint

    def finish(self, job: Job, seconds: float) -> None:
        """Notes that a job ended well."""
        inputs = {name: self.read(name).get('finished') for name in job.after}
        self._write(
            job,
            DONE,
            dict(
                identity(job),
                seconds=round(seconds, 1),
                inputs=inputs,
                finished=datetime.now().astimezone().isoformat(),
            ),
        )

    def _write(self, job: Job, file: str, content: dict[str, Any]) -> None:
        with atomic_write(os.path.join(self.folder(job.name), file)) as stream:
            stream.write(json.dumps(content, indent=2) + '\n')

    def missing(self, job: Job) -> list[str]:
        """Results that a job should have written and has not."""
        return [
            result
            for result in job.results
            if not os.path.isfile(os.path.join(self.folder(job.name), result))
        ]

    def last_line(self, job: Job) -> str:
        """The last words of a job's log."""
        with open(os.path.join(self.folder(job.name), LOG), 'rb') as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 4096, 0))
            lines = file.read().decode('utf-8', 'replace').split('\n')
        return next((line.strip() for line in reversed(lines) if line.strip()), 'it said nothing')
