"""Pictures of skeleton sequences: film strips and animations, and what augmentation, EADM and mining do to them."""
from .geometry import View
from .strips import Strip, draw_strips

__all__ = ['Strip', 'View', 'draw_strips']
