"""Switch to the second training stage."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook

from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class StageSwitchHook(Hook):
    """Starts nearest neighbours mining ("Two-stage Training Strategy").

    The stage is computed anew from the epoch before every epoch, so that a resumed run is in the right one.

    Args:
        epoch: 0-based epoch with which the second stage begins; the paper trains 150 epochs in the first.
    """

    def __init__(self, epoch: int = 150) -> None:
        if epoch < 0:
            raise ValueError(f'StageSwitchHook: epoch={epoch}; it must not be negative')
        self.epoch = epoch

    def before_train_epoch(self, runner) -> None:
        """Sets ``model.mining``."""
        mining = runner.epoch >= self.epoch
        model = unwrap(runner.model)
        if mining and not model.mining:
            runner.logger.info(
                f'Epoch {runner.epoch + 1}: second stage, nearest neighbours mining begins'
            )
        model.mining = mining
