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
import pickle
import sys
import types
import warnings
from datetime import timedelta
from typing import Any
from urllib.parse import urlparse

import torch

from aimclr_mm.checkpoints.scan import check_checkpoint

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


def load_checkpoint_file(filename: str, map_location: Any = 'cpu') -> dict:
    """Reads a checkpoint without running any code that it may contain.

    Args:
        filename: path of the file.
        map_location: as for :func:`torch.load`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no checkpoint, is damaged, or holds objects other than tensors, numbers, text
            and containers of them.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'checkpoint {filename!r} does not exist')
    try:
        check_checkpoint(filename)
        checkpoint = torch.load(filename, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f'checkpoint {filename!r} is damaged or holds objects other than plain tensors and '
            f'containers, which are not loaded for safety ({reason})'
        ) from error
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(
            f'checkpoint {filename!r} cannot be read ({error!r}): the file is damaged, '
            'cut short or no checkpoint'
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'checkpoint {filename!r} holds a {type(checkpoint).__name__}, not a dict of tensors'
        )
    return checkpoint


def load_checkpoint_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> dict:
    """Downloads a checkpoint, once, and reads it by :func:`load_checkpoint_file`.

    Args:
        url: http or https.
        model_dir: folder of downloads; torch's if not given.
        map_location, progress: as for ``torch.hub.load_state_dict_from_url``.
    """
    name = os.path.basename(urlparse(url).path)
    path = os.path.join(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'), name)
    if not os.path.isfile(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        torch.hub.download_url_to_file(url, path, progress=progress)
    return load_checkpoint_file(path, map_location)


def prepare_distributed(cfg: Any) -> None:
    """Lets a distributed run work where there is no GPU: gloo, and DDP without device ids.

    Args:
        cfg: the run's mmengine ``Config``; changed in place. ``env_cfg.dist_cfg.timeout`` is how many seconds a rank
            waits for the others before it gives up; 600 if not given.

    Raises:
        ValueError: if the launcher cannot be used here, or did not start this process.
    """
    if cfg.get('launcher', 'none') == 'none':
        return
    if (
        cfg.launcher == 'pytorch'
        and 'RANK' not in os.environ
        and not torch.distributed.is_initialized()
    ):
        raise ValueError(
            '--launcher pytorch is for processes that torchrun has started: use bash tools/dist_train.sh '
            'CONFIG PROCESSES'
        )
    if (
        cfg.launcher == 'slurm' and 'SLURM_JOB_ID' in os.environ
    ):  # jobs on one machine need ports of their own
        os.environ.setdefault('MASTER_PORT', str(20000 + int(os.environ['SLURM_JOB_ID']) % 10000))
    if torch.cuda.is_available():
        if cfg.launcher == 'pytorch' and int(os.environ['LOCAL_RANK']) >= torch.cuda.device_count():
            raise ValueError(
                f'there are {torch.cuda.device_count()} GPUs here, and each process needs one; start no '
                'more processes than that'
            )
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(f'launcher {cfg.launcher!r} needs GPUs; on CPU use the launcher pytorch')
    seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 600)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=seconds))
    cfg.env_cfg = dict(cfg.get('env_cfg', {}), dist_cfg=dict(backend='gloo', timeout=seconds))
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )


def apply() -> None:
    """Applies all that has to be in place before mmaction's modules are used, and imports them. Safe to call again."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', SyntaxWarning)  # old escapes in the libraries' texts
        warnings.filterwarnings(
            'ignore', message='Fail to import|pkg_resources'
        )  # optional parts of mmcv
        check_mmcv()
        stub_missing_drn()
        importlib.import_module('mmaction.models')
        importlib.import_module('mmaction.datasets')
    from mmengine.runner import checkpoint

    checkpoint.CheckpointLoader.register_scheme(
        prefixes='', loader=load_checkpoint_file, force=True
    )
    checkpoint.load_url = load_checkpoint_url
