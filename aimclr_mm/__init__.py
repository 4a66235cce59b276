"""AimCLR for mmaction2: importing this package registers its datasets, transforms, models, hooks and evaluators."""

from .utils import compat

compat.apply()

from . import datasets, engine, evaluation, models, transforms  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'evaluation', 'models', 'transforms']
