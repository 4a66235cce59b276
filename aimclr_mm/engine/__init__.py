"""The training loop, its hooks and its optimizer wrapper."""

from .console_log import NarratorHook, ReadableLogProcessor, ReadableRunner
from .hooks.divergence import DivergenceHook
from .hooks.hooks import (
    EpochSeedHook,
    HealthHook,
    LoadEncoderHook,
    MomentumUpdateHook,
    PlainCheckpointHook,
    StageSwitchHook,
)
from .hooks.provenance import ProvenanceHook
from .hooks.ranks import RanksHook
from .hooks.safe_checkpoint import SafeCheckpointHook, newest_checkpoint
from .hooks.stop import StopHook
from .optim_wrapper import BFloat16OptimWrapper
from .schedules import scale_schedule
from .train_loop import ResumableTrainLoop

__all__ = [
    'BFloat16OptimWrapper',
    'DivergenceHook',
    'EpochSeedHook',
    'HealthHook',
    'LoadEncoderHook',
    'MomentumUpdateHook',
    'NarratorHook',
    'PlainCheckpointHook',
    'ProvenanceHook',
    'RanksHook',
    'ReadableLogProcessor',
    'ReadableRunner',
    'ResumableTrainLoop',
    'SafeCheckpointHook',
    'StageSwitchHook',
    'StopHook',
    'newest_checkpoint',
    'scale_schedule',
]
