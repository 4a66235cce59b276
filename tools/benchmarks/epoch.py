"""Whole epochs with data: the config's training, and the released processor with its own loader.

Ours is ``Runner.train()`` as tools/train.py calls it, on an annotation file whose cache exists. An
epoch of the released code follows each of ours, so that drifts of the machine meet both.
"""

from __future__ import annotations

import os

from mmengine.hooks import Hook
from mmengine.runner import Runner

from .measure import Case, PeakMemory, Times, figures, timer, warm_up
from .official import Official
from .settings import (
    Settings,
    layout_of,
    project_config,
    skeletons,
    versions_of_ours,
    write_annotations,
    write_released,
)


class Turns(Hook):
    """Time the epochs of a training; run an epoch of a peer after each.

    Args:
        warmup: epochs before those that are timed; the last of them gives the peak memory.
        peer: the other implementation, or None.
    """

    priority = 'VERY_HIGH'

    def __init__(self, warmup: int, peer: Case | None) -> None:
        self.warmup, self.peer = warmup, peer
        self.ours, self.theirs = Times(), Times()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock."""
        self.memory = PeakMemory()
        if runner.epoch == self.warmup - 1:
            self.memory.__enter__()
        self.start = timer()

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop the clock and run the peer."""
        seconds = timer() - self.start
        timed = runner.epoch >= self.warmup
        if runner.epoch == self.warmup - 1:
            self.memory.__exit__()
            self.ours.peak_memory = self.memory.mebibytes
            if self.peer is not None:
                self.theirs = warm_up(self.peer, self.warmup)
        if timed:
            self.ours.seconds.append(seconds)
        if timed and self.peer is not None:
            self.theirs.seconds.append(self.peer.seconds())


def measure(settings: Settings) -> dict:
    """Return samples per second over whole epochs."""
    if settings.samples < settings.batch:
        raise ValueError(f'--samples {settings.samples} is less than one batch of {settings.batch}')
    layout = layout_of(project_config(settings))
    x = skeletons(settings, settings.samples, layout)
    ann_file = os.path.join(settings.folder, 'epoch.pkl')
    write_annotations(ann_file, layout, x, x[:0])

    samples = settings.samples // settings.batch * settings.batch  # both drop the last batch
    peer = None
    if settings.official is not None:
        peer = Case(released_epoch(settings, x), samples, peer=True)
    del x

    result = dict(measured={}, ratio={})
    epochs = settings.warmup + settings.rounds
    for name, (dtype, variant, _) in versions_of_ours(settings).items():
        cfg = project_config(settings, dtype, variant, ann_file)
        cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs + 1)
        cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
        runner, turns = Runner.from_cfg(cfg), Turns(settings.warmup, peer)
        runner.register_hook(turns)
        runner.train()

        cases, times = {name: Case(runner.train, samples)}, {name: turns.ours}
        if peer is not None:
            cases[f'released beside {name}'] = peer
            times[f'released beside {name}'] = turns.theirs
        for key, value in figures(cases, times).items():
            result[key].update(value)
    return result


def released_epoch(settings: Settings, x):
    """Return a function that trains the released model for an epoch."""
    official = Official(settings.official, settings.device)
    files = write_released(settings.folder, 'epoch', x)
    processor = official.processor('pretrain', settings, files)

    def epoch() -> None:
        with official.running():
            processor.train(1)

    return epoch
