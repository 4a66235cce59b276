"""Generated random movements, for pre-training without recordings."""

from .dataset import RandomMovements, record
from .program import Program, random_programs
from .sensor import PICTURE

__all__ = ['PICTURE', 'Program', 'RandomMovements', 'random_programs', 'record']
