"""Switch to the second training stage, nearest neighbors mining."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class StageSwitchHook(Hook):
    """Start nearest neighbors mining (paper, "Two-stage Training Strategy").

    The stage is a function of the epoch, set before every epoch, so that a resumed run is in the
    right stage.

    Args:
        epoch: 0-based epoch at which the second stage starts; 150 of 300 in the paper.
    """

    def __init__(self, epoch: int = 150) -> None:
        if epoch < 0:
            raise ValueError(f'StageSwitchHook: epoch={epoch}; it must not be negative')
        self.epoch = epoch

    def before_train_epoch(self, runner: Runner) -> None:
        """Set ``model.mining``."""
        model = unwrap(runner.model)
        mining = runner.epoch >= self.epoch

        if mining and not model.mining:
            runner.logger.info(
                f'Epoch {runner.epoch + 1}: second stage, nearest neighbors mining starts'
            )
        model.mining = mining
