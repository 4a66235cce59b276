"""Momentum update of the key encoder (Eq. 2)."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook

from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class MomentumUpdateHook(Hook):
    """Moves the key encoder towards the query encoder before every iteration (Eq. 2)."""

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Asks the model for the update."""
        unwrap(runner.model).update_key_encoder()
