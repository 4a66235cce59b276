"""Checkpoints of plain tensors and containers."""

from __future__ import annotations

import numpy as np
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging.history_buffer import HistoryBuffer


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Turns checkpoints into plain tensors and containers, so that they load with ``weights_only=True``.

    mmengine stores its log buffers as objects; without this hook no checkpoint can be resumed with torch >= 2.6. It
    also keeps up to a million entries in each, copied at every iteration: here the newest are kept, enough for every
    window over which the log is smoothed.

    Args:
        max_history: entries kept of each log buffer.
    """

    priority = 'VERY_LOW'

    def __init__(self, max_history: int = 1000) -> None:
        self.max_history = max_history

    def before_train_epoch(self, runner) -> None:
        """Bounds the log buffers."""
        for buffer in runner.message_hub.log_scalars.values():
            buffer.max_length = self.max_history

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Replaces log buffers by pairs of lists and NumPy values by Python's."""
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: [values[-self.max_history :].tolist() for values in buffer.data]
            for name, buffer in hub['log_scalars'].items()
        }
        for key in ('meta', 'message_hub', 'param_schedulers'):
            if key in checkpoint:
                checkpoint[key] = to_builtin(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Makes log buffers again, and drops the text that mmengine would run as a config."""
        hub = checkpoint.get('message_hub')
        if hub:
            hub['log_scalars'] = {
                name: HistoryBuffer(*values) if isinstance(values, list) else values
                for name, values in hub['log_scalars'].items()
            }
        checkpoint.get('meta', {}).pop('config', None)


def to_builtin(value):
    """The value with NumPy scalars and arrays, tuples and mappings of any kind as Python's own."""
    if isinstance(value, dict):
        return {key: to_builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (
            type(value)(to_builtin(item) for item in value)
            if type(value) in (list, tuple)
            else list(map(to_builtin, value))
        )
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return value
