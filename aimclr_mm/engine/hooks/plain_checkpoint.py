"""Checkpoints of plain tensors and containers, readable with ``weights_only=True``."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import Runner


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Convert checkpoints to tensors and built-in types, so that they load with ``weights_only``.

    mmengine pickles its log buffers as objects; without this hook no checkpoint could be resumed
    with torch >= 2.6. mmengine also keeps up to a million entries per buffer and copies them at
    every iteration; only the newest are kept here, more than the log's smoothing windows need.

    Args:
        max_history: number of entries kept per log buffer.
    """

    priority = 'VERY_LOW'

    def __init__(self, max_history: int = 1000) -> None:
        self.max_history = max_history

    def before_train_epoch(self, runner: Runner) -> None:
        """Limit the log buffers."""
        for buffer in runner.message_hub.log_scalars.values():
            buffer.max_length = self.max_history

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Convert log buffers to lists (values, counts), and NumPy types to built-in ones."""
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: [values[-self.max_history :].tolist() for values in buffer.data]
            for name, buffer in hub['log_scalars'].items()
        }

        for key in ('meta', 'message_hub', 'param_schedulers'):
            if key in checkpoint:
                checkpoint[key] = to_builtin(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rebuild the log buffers."""
        hub = checkpoint.get('message_hub')
        if hub:
            hub['log_scalars'] = {
                name: HistoryBuffer(*values) if isinstance(values, list) else values
                for name, values in hub['log_scalars'].items()
            }


def to_builtin(value: Any) -> Any:
    """Convert NumPy values and container subclasses to built-in types, recursively."""
    if isinstance(value, dict):
        return {key: to_builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [to_builtin(item) for item in value]
        return tuple(items) if type(value) is tuple else items
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return value
