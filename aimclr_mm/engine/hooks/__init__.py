"""Hooks of the training loop, one per file."""

from .collapse_monitor import CollapseMonitorHook
from .deferred_info import DeferredRuntimeInfoHook
from .distributed_check import DistributedCheckHook
from .divergence import DivergenceHook
from .epoch_seed import EpochSeedHook
from .load_encoder import LoadEncoderHook
from .momentum_update import MomentumUpdateHook
from .plain_checkpoint import PlainCheckpointHook
from .provenance import ProvenanceHook
from .safe_checkpoint import SafeCheckpointHook, newest_checkpoint
from .sigterm import SigtermHook
from .stage_switch import StageSwitchHook

__all__ = [
    'CollapseMonitorHook',
    'DeferredRuntimeInfoHook',
    'DistributedCheckHook',
    'DivergenceHook',
    'EpochSeedHook',
    'LoadEncoderHook',
    'MomentumUpdateHook',
    'PlainCheckpointHook',
    'ProvenanceHook',
    'SafeCheckpointHook',
    'SigtermHook',
    'StageSwitchHook',
    'newest_checkpoint',
]
