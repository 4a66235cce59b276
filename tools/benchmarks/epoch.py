"""Whole epochs with data: the config's training, and the released processor with its own loader."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.config import Config
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner

from .released import Released
from .timing import Case, compare
from .workload import Settings, our_configs, skeletons, write_annotations, write_released


@LOOPS.register_module(force=True)
class PreparedTrainLoop(EpochBasedTrainLoop):
    """Training loop that stops before the first epoch, for a timer that runs the epochs."""

    def run(self) -> None:
        """Prepare the training."""
        self.runner.call_hook('before_train')


def our_epoch(cfg: Config) -> Callable[[], None]:
    """Return a function that trains for an epoch as tools/train.py does, with all hooks."""
    cfg.train_cfg.update(type='PreparedTrainLoop', val_interval=cfg.train_cfg.max_epochs + 1)
    cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.train_loop.run_epoch


def measure(settings: Settings) -> dict:
    """Return samples per second over whole epochs."""
    if settings.samples < settings.batch:
        raise ValueError(
            f'--samples {settings.samples} is less than one batch of {settings.batch}; raise it, '
            'or lower --batch'
        )
    x = skeletons(settings, settings.samples)
    ann_file = write_annotations(settings, x)
    samples = settings.samples // settings.batch * settings.batch  # both drop the last batch
    cases = {}
    for name, (cfg, peer) in our_configs(settings, ann_file).items():
        cases[name] = Case(our_epoch(cfg), samples, peer)
    if settings.official is not None:
        _, epoch = Released(settings).training(write_released(settings.folder, x))
        cases['released'] = Case(epoch, samples, peer=True)
    return compare('epoch', cases, settings.rounds)
