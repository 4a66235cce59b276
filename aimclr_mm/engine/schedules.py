"""Training schedules: scaled to another number of epochs, and changed between two runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

# settings of mmengine's schedulers that are numbers of epochs, with their minimum
MINIMUM = dict(milestones=0, T_max=1, step_size=1, periods=1, begin=0, end=0)


def scale_schedule(cfg: Config, epochs: int) -> None:
    """Scale a schedule to ``epochs``: learning rate, stage switch and intervals in proportion.

    Args:
        cfg: config of an epoch-based training; changed in place.
        epochs: new number of epochs, at least 1.

    Raises:
        ValueError: if ``epochs`` is not positive.
    """
    if epochs < 1:
        raise ValueError(f'--epochs {epochs}: training needs at least 1 epoch')
    factor = epochs / cfg.train_cfg.max_epochs

    cfg.train_cfg.max_epochs = epochs
    if 'val_interval' in cfg.train_cfg:
        cfg.train_cfg.val_interval = _scaled(cfg.train_cfg.val_interval, factor, 1)

    checkpoint = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if checkpoint.get('by_epoch', True) and 'interval' in checkpoint:
        checkpoint.interval = _scaled(checkpoint.interval, factor, 1)

    for hook in cfg.get('custom_hooks') or []:
        if hook['type'] == 'StageSwitchHook':
            hook['epoch'] = _scaled(hook['epoch'], factor)

    schedulers = cfg.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, Mapping) else schedulers:
        if scheduler.get('by_epoch', True):
            _scale_scheduler(scheduler, factor)


def _scale_scheduler(scheduler: Any, factor: float) -> None:
    """Scale the config of a scheduler in place."""
    for key, minimum in MINIMUM.items():
        value = scheduler.get(key)
        if isinstance(value, (list, tuple)):
            scheduler[key] = [_scaled(item, factor, minimum) for item in value]
        elif value is not None:
            scheduler[key] = _scaled(value, factor, minimum)

    if scheduler.get('end') is not None:
        scheduler['end'] = max(scheduler['end'], scheduler.get('begin', 0) + 1)


def _scaled(value: int, factor: float, minimum: int = 0) -> int:
    return max(round(value * factor), minimum)


def schedule_settings(schedulers: Any) -> list[dict] | None:
    """Return the settings of schedules without their progress; None if they are not a list."""
    if not isinstance(schedulers, list):
        return None
    progress = ('last_step', '_global_step', '_last_value', 'base_values', 'verbose')
    return [
        {key: value for key, value in schedule.state_dict().items() if key not in progress}
        for schedule in schedulers
    ]


def restart_schedules(runner: Runner) -> float:
    """Rebuild the schedules from the config at the current epoch and return the learning rate."""
    groups = runner.optim_wrapper.param_groups
    for group in groups:
        group['lr'] = group['initial_lr']
    runner.param_schedulers = runner.build_param_scheduler(runner.cfg.param_scheduler)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's, that no step of the optimizer came before
        for schedule in runner.param_schedulers:
            for _ in range(runner.epoch if schedule.by_epoch else runner.iter):
                schedule.step()
    return groups[0]['lr']
