"""A schedule stretched or shrunk as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# settings of mmengine's schedulers that count epochs, and the least that each may be
EPOCHS = dict(milestones=0, T_max=1, step_size=1, periods=1, begin=0, end=0)


def scale_schedule(cfg: Any, epochs: int) -> None:
    """Lets a training end after ``epochs``; learning rate, stage switch and intervals keep their share of it.

    Args:
        cfg: config of an epoch-based training; changed in place.
        epochs: at least 1.

    Raises:
        ValueError: if ``epochs`` is not positive.
    """
    if epochs < 1:
        raise ValueError(f'--epochs {epochs}: a training takes at least 1 epoch')
    factor = epochs / cfg.train_cfg.max_epochs

    def scaled(value: int, least: int = 0) -> int:
        return max(round(value * factor), least)

    cfg.train_cfg.max_epochs = epochs
    if 'val_interval' in cfg.train_cfg:
        cfg.train_cfg.val_interval = scaled(cfg.train_cfg.val_interval, 1)
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if checkpoint.get('by_epoch', True) and 'interval' in checkpoint:
        checkpoint.interval = scaled(checkpoint.interval, 1)
    for hook in cfg.get('custom_hooks') or []:
        if hook['type'] == 'StageSwitchHook':
            hook['epoch'] = scaled(hook['epoch'])
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, Mapping) else schedulers:
        if scheduler.get('by_epoch', True):
            for key, least in EPOCHS.items():
                if isinstance(scheduler.get(key), (list, tuple)):
                    scheduler[key] = [scaled(value, least) for value in scheduler[key]]
                elif scheduler.get(key) is not None:
                    scheduler[key] = scaled(scheduler[key], least)
            if scheduler.get('end') is not None:
                scheduler['end'] = max(scheduler['end'], scheduler.get('begin', 0) + 1)
