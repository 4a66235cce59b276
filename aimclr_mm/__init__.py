"""AimCLR for mmaction2. Importing the package registers its classes in mmaction2's registries."""

from .checkpoints.safe_reading import load_checkpoint_file, load_checkpoint_url
from .utils import compat

compat.apply(load_checkpoint_file, load_checkpoint_url)

from . import datasets, engine, evaluation, models, transforms  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'evaluation', 'models', 'transforms']
