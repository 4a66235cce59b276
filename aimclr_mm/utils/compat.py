"""Makes the PyPI releases of the OpenMMLab libraries work together as they are.

========================================  ======================================================================
what breaks                               what is done here
========================================  ======================================================================
mmaction2 1.2.0's wheel lacks the DRN     :func:`stub_missing_drn` puts an empty module in its place; a source
localizer, so ``mmaction.models`` does    build that has it is left alone
not import (mmaction2 issue 2714)
mmcv missing, or 2.2 and newer, which     :func:`check_mmcv` says which package to install
mmaction2 refuses with a bare assertion
mmengine reads checkpoints with torch's   :func:`load_checkpoint_file` becomes mmengine's loader for local files,
default of ``weights_only``, unsafe       :func:`load_checkpoint_url` that for addresses: always
before torch 2.6, and downloaded ones     ``weights_only=True``, one clear line for a bad file
with none
mmengine's checkpoints hold objects that  :class:`aimclr_mm.engine.PlainCheckpointHook`
``weights_only`` refuses, so none can be
resumed
the runner gives DDP device ids and the   :func:`prepare_distributed`
launcher a CUDA device on machines
without a GPU
========================================  ======================================================================
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Callable

MMCV_RANGE = '>=2.0.0,<2.2.0'


def check_mmcv() -> None:
    """Raises ImportError with the remedy where mmcv (or mmcv-lite) is missing or of a version mmaction2 refuses."""
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            "mmcv is missing. Install the light one with pip install 'mmcv-lite"
            f"{MMCV_RANGE}', or full mmcv of the same range"
        )
    import mmcv
    from mmengine.utils import digit_version

    if not digit_version('2.0.0rc4') <= digit_version(mmcv.__version__) < digit_version('2.2.0'):
        raise ImportError(
            f'mmcv {mmcv.__version__} is installed, but mmaction2 1.2 takes {MMCV_RANGE}. '
            f"Install one with pip install 'mmcv-lite{MMCV_RANGE}'"
        )


def stub_missing_drn() -> None:
    """Registers an empty DRN localizer module where the installed mmaction2 has none."""
    name = 'mmaction.models.localizers.drn'
    mmaction = importlib.util.find_spec('mmaction')
    if mmaction is None:
        raise ImportError("mmaction2 is missing. Install it with pip install 'mmaction2>=1.2,<1.3'")
    root = next(iter(mmaction.submodule_search_locations))
    if name in sys.modules or os.path.isdir(os.path.join(root, 'models', 'localizers', 'drn')):
        return
    package, module = types.ModuleType(name), types.ModuleType(f'{name}.drn')
    package.__path__ = []
    module.DRN = type(
        'DRN', (), {'__doc__': 'Stands for the localizer that the wheel of mmaction2 lacks.'}
    )
    package.drn = module
    sys.modules.update({name: package, f'{name}.drn': module})


def import_mmaction() -> None:
    """Import mmaction's models and datasets without the warnings of their optional parts."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', SyntaxWarning)  # invalid escape sequences in docstrings
        warnings.filterwarnings('ignore', message='Fail to import|pkg_resources')
        importlib.import_module('mmaction.models')
        importlib.import_module('mmaction.datasets')


def replace_checkpoint_loaders(load_file: Callable, load_url: Callable) -> None:
    """Replace mmengine's checkpoint loaders for local files and for downloads.

    Args:
        load_file: called with the path and ``map_location``.
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
