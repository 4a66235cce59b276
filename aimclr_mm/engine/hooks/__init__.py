"""Hooks of pre-training, one a file."""

from .divergence import DivergenceHook
from .hooks import (
    EpochSeedHook,
    HealthHook,
    LoadEncoderHook,
    MomentumUpdateHook,
    PlainCheckpointHook,
    StageSwitchHook,
)
from .provenance import ProvenanceHook
from .ranks import RanksHook
from .safe_checkpoint import SafeCheckpointHook, newest_checkpoint
from .stop import StopHook

__all__ = [
    'DivergenceHook',
    'EpochSeedHook',
    'HealthHook',
    'LoadEncoderHook',
    'MomentumUpdateHook',
    'PlainCheckpointHook',
    'ProvenanceHook',
    'RanksHook',
    'SafeCheckpointHook',
    'StageSwitchHook',
    'StopHook',
    'newest_checkpoint',
]
