"""Switch to the next training stage, such as nearest neighbors mining."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aimclr_mm.engine.distributed import unwrap
from aimclr_mm.utils.arguments import check_choice

STAGES = dict(
    mining='second stage, nearest neighbors mining',
    voting='third stage, voting of the streams on the mined neighbors',
)


@HOOKS.register_module()
class StageSwitchHook(Hook):
    """Start a stage, nearest neighbors mining by default (paper, "Two-stage Training Strategy").

    The stage is a function of the epoch, set before every epoch, so that a resumed run is in the
    right stage.

    Args:
        epoch: 0-based epoch at which the stage starts; 150 of 300 in the paper.
        stage: attribute of the model that is true from then on, ``mining`` or, for
            :class:`~aimclr_mm.models.AimCLRPlusPlus`, ``voting``.
    """

    def __init__(self, epoch: int = 150, stage: str = 'mining') -> None:
        if epoch < 0:
            raise ValueError(f'StageSwitchHook: epoch={epoch}; it must not be negative')
        check_choice('StageSwitchHook: stage', stage, tuple(STAGES))
        self.epoch = epoch
        self.stage = stage

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the attribute of the model."""
        model = unwrap(runner.model)
        started = runner.epoch >= self.epoch
        if started and not getattr(model, self.stage):
            runner.logger.info(f'Epoch {runner.epoch + 1}: {STAGES[self.stage]} starts')
        setattr(model, self.stage, started)
