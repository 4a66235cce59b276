"""Momentum update of the key encoder (Eq. 2)."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class MomentumUpdateHook(Hook):
    """Update the key encoder before every iteration: k <- m k + (1 - m) q (Eq. 2)."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Update the key encoder of the model."""
        unwrap(runner.model).update_key_encoder()
