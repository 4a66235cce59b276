"""Hooks of the training loop and its optimizer wrapper."""
from .hooks import EpochSeedHook, HealthHook, LoadEncoderHook, MomentumUpdateHook, PlainCheckpointHook, StageSwitchHook
from .optim import BFloat16OptimWrapper
from .schedule import scale_schedule

__all__ = ['BFloat16OptimWrapper', 'EpochSeedHook', 'HealthHook', 'LoadEncoderHook', 'MomentumUpdateHook',
           'PlainCheckpointHook', 'StageSwitchHook', 'scale_schedule']
