"""What is shown while jobs run: one line for each event, and below them, on a terminal, a bar."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def duration(seconds: float) -> str:
    """Two units of time, such as ``3 min 20 s``."""
    whole = round(seconds)
    if whole == 0 and seconds > 0:
        return 'less than 1 s'
    units = [
        (whole // 86400, 'd'),
        (whole // 3600 % 24, 'h'),
        (whole // 60 % 60, 'min'),
        (whole % 60, 's'),
    ]
    first = next((i for i, (count, _) in enumerate(units) if count), len(units) - 1)
    return ' '.join(f'{count} {unit}' for count, unit in units[first : first + 2] if count) or '0 s'


def remaining(kinds: Sequence[str], measured: dict[str, list[float]], devices: int) -> float | None:
    """Seconds that jobs will take, from those of their kind that have ended; None if none of some kind has.

    Args:
        kinds: of the jobs that are not finished.
        measured: seconds of finished jobs by kind.
        devices: how many run at a time.
    """
    if any(not measured.get(kind) for kind in kinds):
        return None
    return sum(mean(measured[kind]) for kind in kinds) / max(min(devices, len(kinds)), 1)


class Screen:
    """A context in which lines and, on a terminal, the progress of all jobs are shown.

    Args:
        total: number of jobs.
    """

    def __init__(self, total: int) -> None:
        console = Console(soft_wrap=True, highlight=False, markup=False)
        self._progress = (
            Progress(
                TextColumn('{task.description}', markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
            if console.is_terminal
            else None
        )
        self._task = self._progress.add_task('', total=total) if self._progress else None

    def __enter__(self) -> Screen:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def line(self, text: str) -> None:
        """Shows a line that stays."""
        if self._progress:
            self._progress.console.print(text)
        else:
            print(text, flush=True)

    def update(self, ended: int, running: Sequence[str]) -> None:
        """Moves the bar."""
        if self._progress:
            self._progress.update(
                self._task, completed=ended, description=', '.join(running) or 'waiting'
            )
