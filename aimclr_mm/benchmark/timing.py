"""Timing of two implementations in alternation."""
from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from rich.progress import track


def alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; the calls take turns, so that a drift of the machine meets both.

    Args:
        calls: name -> what is timed; each runs once before to warm up.
        rounds: how often each is timed.
    """
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in track(range(rounds), 'Measuring'):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and largest of some figures."""
    return dict(median=median(values), min=min(values), max=max(values))
