"""Hooks of the training loop and its optimizer wrapper."""
from .hooks import EpochSeedHook, HealthHook, MomentumUpdateHook, PlainCheckpointHook, StageSwitchHook
from .optim import BFloat16OptimWrapper

__all__ = ['BFloat16OptimWrapper', 'EpochSeedHook', 'HealthHook', 'MomentumUpdateHook', 'PlainCheckpointHook',
           'StageSwitchHook']
