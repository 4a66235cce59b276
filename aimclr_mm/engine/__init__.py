"""Training loop, hooks, optimizer wrapper, schedules and console log."""

from .console_log import ConsoleLogHook, ConsoleLogProcessor, ConsoleRunner
from .graphed_step import GraphedStep
from .hooks import (
    CollapseMonitorHook,
    DeferredRuntimeInfoHook,
    DistributedCheckHook,
    DivergenceHook,
    EpochSeedHook,
    LoadEncoderHook,
    MomentumUpdateHook,
    PlainCheckpointHook,
    ProvenanceHook,
    SafeCheckpointHook,
    SigtermHook,
    StageSwitchHook,
    newest_checkpoint,
)
from .optim_wrapper import BFloat16OptimWrapper
from .schedules import scale_schedule
from .train_loop import ResumableTrainLoop

__all__ = [
    'BFloat16OptimWrapper',
    'CollapseMonitorHook',
    'ConsoleLogHook',
    'ConsoleLogProcessor',
    'ConsoleRunner',
    'DeferredRuntimeInfoHook',
    'DistributedCheckHook',
    'DivergenceHook',
    'EpochSeedHook',
    'GraphedStep',
    'LoadEncoderHook',
    'MomentumUpdateHook',
    'PlainCheckpointHook',
    'ProvenanceHook',
    'ResumableTrainLoop',
    'SafeCheckpointHook',
    'SigtermHook',
    'StageSwitchHook',
    'newest_checkpoint',
    'scale_schedule',
]
