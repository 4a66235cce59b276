"""Pictures of sequences, augmentations, EADM masks and mined neighbors."""

from .animation import animate, durations
from .augmentations import augmentation_strips
from .eadm import draw_drops, eadm_drops, find_eadm
from .geometry import View
from .inputs import config_layout
from .neighbors import (
    BORDERS,
    choose_queries,
    find_name,
    load_keys,
    neighbor_strips,
    training_data,
)
from .strips import Strip, draw_strips

__all__ = [
    'BORDERS',
    'Strip',
    'View',
    'animate',
    'augmentation_strips',
    'choose_queries',
    'config_layout',
    'draw_drops',
    'draw_strips',
    'durations',
    'eadm_drops',
    'find_eadm',
    'find_name',
    'load_keys',
    'neighbor_strips',
    'training_data',
]
