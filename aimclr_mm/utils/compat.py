"""Patches that the PyPI releases of the OpenMMLab libraries need, all in one place.

==================================  ============================================================
reason                              patch
==================================  ============================================================
The mmaction2 1.2.0 wheel lacks     :func:`stub_missing_drn` registers an empty module instead;
the DRN localizer, so that          a source build that has it is left alone.
``mmaction.models`` cannot be
imported (mmaction2 issue 2714).
A transform that nothing here uses  :func:`defer_scipy_stats`: mmaction gets a function that imports
imports ``scipy.stats``, which      it when it is called.
takes as long as half of torch.
mmengine calls ``torch.load``       :func:`replace_checkpoint_loaders`: local files and
without ``weights_only=True``:      downloads are read by :mod:`aimclr_mm.checkpoints` instead,
before torch 2.6 a checkpoint may   which scans them first. All other classes that read or write
run code, since then a damaged one  checkpoints are selected in configs and patch nothing.
raises errors of many kinds.
==================================  ============================================================

:func:`check_mmcv` replaces mmaction2's bare assertion on the version of mmcv by a message that
names the package to install.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MMCV_RANGE = '>=2.0.0,<2.2.0'


def check_mmcv() -> None:
    """Raise ImportError if mmcv (or mmcv-lite) is missing, or of a version mmaction2 refuses."""
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            f"mmcv is missing. Install it with pip install 'mmcv-lite{MMCV_RANGE}', or full mmcv "
            'of the same range'
        )
    import mmcv
    from mmengine.utils import digit_version

    if not digit_version('2.0.0rc4') <= digit_version(mmcv.__version__) < digit_version('2.2.0'):
        raise ImportError(
            f'mmcv {mmcv.__version__} is installed, but mmaction2 1.2 needs {MMCV_RANGE}. '
            f"Install it with pip install 'mmcv-lite{MMCV_RANGE}'"
        )


def stub_missing_drn() -> None:
    """Register an empty DRN localizer module if the installed mmaction2 lacks it."""
    name = 'mmaction.models.localizers.drn'
    mmaction = importlib.util.find_spec('mmaction')
    if mmaction is None:
        raise ImportError("mmaction2 is missing. Install it with pip install 'mmaction2>=1.2,<1.3'")

    root = next(iter(mmaction.submodule_search_locations))
    if name in sys.modules or os.path.isdir(os.path.join(root, 'models', 'localizers', 'drn')):
        return
    package, module = types.ModuleType(name), types.ModuleType(f'{name}.drn')
    package.__path__ = []
    package.drn = module
    module.DRN = type('DRN', (), {'__doc__': 'Placeholder; the mmaction2 wheel lacks DRN.'})
    sys.modules.update({name: package, f'{name}.drn': module})


def skip_multimodal() -> None:
    """Leave out mmaction2's video-language models with transformers 5, which they do not support.

    The import of ``mmaction.models`` would fail.
    """
    dependency = importlib.import_module('mmaction.utils.dependency')
    if dependency.satisfy_requirement('transformers>=5'):
        dependency.WITH_MULTIMODAL = False


@contextmanager
def defer_scipy_stats() -> Iterator[None]:
    """Let ``from scipy.stats import mode`` give a function that imports it when it is called.

    Nothing changes if scipy.stats is imported already. Later imports get the module itself.
    """
    name = 'scipy.stats'
    if name in sys.modules:
        yield
        return

    def mode(*args: Any, **kwargs: Any) -> Any:
        return importlib.import_module(name).mode(*args, **kwargs)

    stand_in = types.ModuleType(name)
    stand_in.mode = mode
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


def import_mmaction() -> None:
    """Import mmaction's models and datasets without the warnings of their optional parts."""
    with warnings.catch_warnings(), defer_scipy_stats():
        warnings.simplefilter('ignore', SyntaxWarning)  # invalid escape sequences in docstrings
        warnings.filterwarnings('ignore', message='Fail to import|pkg_resources')
        skip_multimodal()
        importlib.import_module('mmaction.models')
        importlib.import_module('mmaction.datasets')


def replace_checkpoint_loaders(load_file: Callable, load_url: Callable) -> None:
    """Replace mmengine's checkpoint loaders for local files and for downloads.

    ``load_url`` serves several URL schemes of mmengine, so it is replaced rather than each scheme.

    Args:
        load_file: called with a path and ``map_location``.
        load_url: called like ``torch.hub.load_state_dict_from_url``.
    """
    from mmengine.runner import checkpoint

    checkpoint.CheckpointLoader.register_scheme(prefixes='', loader=load_file, force=True)
    checkpoint.load_url = load_url


def apply(load_file: Callable, load_url: Callable) -> None:
    """Check the libraries, import mmaction and apply the patches; repeated calls change nothing.

    Args:
        load_file, load_url: see :func:`replace_checkpoint_loaders`.
    """
    check_mmcv()
    stub_missing_drn()
    import_mmaction()
    replace_checkpoint_loaders(load_file, load_url)
