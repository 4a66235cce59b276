"""A schedule stretched or shrunk as a whole."""
from __future__ import annotations

from typing import Any

EPOCHS = ('milestones', 'T_max', 'begin', 'end')       # settings of mmengine's schedulers that count epochs


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
    for hook in cfg.get('custom_hooks', []):
        if hook['type'] == 'StageSwitchHook':
            hook['epoch'] = scaled(hook['epoch'])
    for scheduler in cfg.get('param_scheduler', []):
        if scheduler.get('by_epoch', True):
            for key in EPOCHS:
                if isinstance(scheduler.get(key), (list, tuple)):
                    scheduler[key] = [scaled(value) for value in scheduler[key]]
                elif scheduler.get(key) is not None:
                    scheduler[key] = scaled(scheduler[key], int(key == 'T_max'))
