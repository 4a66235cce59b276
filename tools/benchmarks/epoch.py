"""Whole epochs with data: the config's training, and the released processor with its own loader.

Ours is ``Runner.train()`` as tools/train.py calls it, with an annotation file whose cache exists. The released epoch
runs between two of ours, so that both meet the same machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import Progress

from .data import skeletons, write_annotations, write_released
from .machine import PeakMemory
from .official import Official
from .settings import Settings, layout_of, project_config, versions_of_ours
from .timing import STDERR, Case, Times, clock, figures, synchronize, warm_up


class Turns(Hook):
    """Times every epoch of a training and lets another implementation run an epoch after it.

    Args:
        device: ``cpu`` or ``cuda``.
        warmup: epochs that are not timed; the last of them gives the peak memory.
        peer: the other one, or None.
        bar, task: progress bar to advance.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self, device: str, warmup: int, peer: Case | None, bar: Progress, task: Any
    ) -> None:
        self.device, self.warmup, self.peer, self.bar, self.task = device, warmup, peer, bar, task
        self.ours, self.theirs = Times(), Times()

    def before_train_epoch(self, runner: Runner) -> None:
        """Starts the clock."""
        synchronize(self.device)
        self.memory = PeakMemory(self.device) if runner.epoch == self.warmup - 1 else None
        if self.memory:
            self.memory.__enter__()
        self.start = time.perf_counter()

    def after_train_epoch(self, runner: Runner) -> None:
        """Stops the clock; then it is the other one's turn."""
        synchronize(self.device)
        seconds = time.perf_counter() - self.start
        if self.memory:
            self.memory.__exit__()
            self.ours.peak_memory = self.memory.mebibytes
        if runner.epoch >= self.warmup:
            self.ours.seconds.append(seconds)
        self.bar.advance(self.task)
        if self.peer is not None:
            if runner.epoch >= self.warmup:
                clock(self.peer, self.device, self.theirs)
            elif runner.epoch == self.warmup - 1:
                warm_up(self.peer, self.device, self.theirs, self.warmup)


def train(
    settings: Settings, dtype: str, variant: Mapping[str, Any], ann_file: str, peer: Case | None
) -> Turns:
    """Trains ours for the epochs to measure."""
    cfg = project_config(settings, dtype, variant, ann_file)
    epochs = settings.warmup + settings.rounds
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs + 1)
    cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
    with Progress(console=STDERR) as bar:
        turns = Turns(
            settings.device,
            settings.warmup,
            peer,
            bar,
            bar.add_task(f'Epochs, {dtype}', total=epochs),
        )
        runner = Runner.from_cfg(cfg)
        runner.register_hook(turns)
        runner.train()
    return turns


def measure(settings: Settings) -> dict:
    """Samples a second over whole epochs; each version of ours takes turns with the released code."""
    if settings.samples < settings.batch:
        raise ValueError(f'--samples {settings.samples} is less than one batch of {settings.batch}')
    official = None if settings.official is None else Official(settings.official, settings.device)
    layout = layout_of(project_config(settings))
    x = skeletons(settings, settings.samples, layout)
    ann_file = os.path.join(settings.folder, 'epoch.pkl')
    write_annotations(ann_file, layout, x, x[:0])
    samples, peer = (
        settings.samples // settings.batch * settings.batch,
        None,
    )  # both drop what is left over
    if official is not None:
        processor = official.processor(
            'pretrain', settings, write_released(settings.folder, 'epoch', x)
        )

        def released() -> None:
            with official.running():
                processor.train(1)

        peer = Case(released, samples, True)
    del x
    result = dict(measured={}, ratio={})
    for name, (dtype, variant, _) in versions_of_ours(settings).items():
        turns = train(settings, dtype, variant, ann_file, peer)
        cases, times = {name: Case(turns, samples)}, {name: turns.ours}
        if peer is not None:
            released_name = f'released beside {name}'
            cases[released_name], times[released_name] = peer, turns.theirs
        for key, value in figures(cases, times).items():
            result[key].update(value)
    return result
