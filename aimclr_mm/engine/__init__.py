"""The training loop, its hooks and its optimizer wrapper."""
from .checkpoint import SafeCheckpointHook, newest_checkpoint
from .divergence import DivergenceHook
from .hooks import EpochSeedHook, HealthHook, LoadEncoderHook, MomentumUpdateHook, PlainCheckpointHook, StageSwitchHook
from .log import NarratorHook, ReadableLogProcessor, ReadableRunner
from .loop import ResumableTrainLoop
from .optim import BFloat16OptimWrapper
from .provenance import ProvenanceHook
from .ranks_hook import RanksHook
from .schedule import scale_schedule
from .stop import StopHook

__all__ = ['BFloat16OptimWrapper', 'DivergenceHook', 'EpochSeedHook', 'HealthHook', 'LoadEncoderHook',
           'MomentumUpdateHook', 'NarratorHook', 'PlainCheckpointHook', 'ProvenanceHook', 'RanksHook',
           'ReadableLogProcessor', 'ReadableRunner', 'ResumableTrainLoop', 'SafeCheckpointHook', 'StageSwitchHook',
           'StopHook', 'newest_checkpoint', 'scale_schedule']
