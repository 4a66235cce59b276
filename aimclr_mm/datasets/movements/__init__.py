"""Generated random movements, for pre-training without recordings."""

from .dataset import RandomMovements, record
from .program import Program, random_programs

__all__ = ['Program', 'RandomMovements', 'random_programs', 'record']
