"""Hooks of the training loop."""
from .hooks import EpochSeedHook, HealthHook, MomentumUpdateHook, PlainCheckpointHook, StageSwitchHook

__all__ = ['EpochSeedHook', 'HealthHook', 'MomentumUpdateHook', 'PlainCheckpointHook', 'StageSwitchHook']
