"""Distributed training: preparation of a run, and reductions over ranks."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def any_rank(value: bool) -> bool:
    """Return whether the value is true on any rank; a collective operation."""
    if get_world_size() == 1:
        return value
    flag = torch.tensor([float(value)])
    all_reduce(flag, 'max')
    return bool(flag.item())


def batch_norm_statistics(model: nn.Module) -> list[dict[str, Tensor]]:
    """Return the batch-norm statistics of every rank, which differ within an epoch.

    A collective operation. Empty for a single rank.
    """
    if get_world_size() == 1:
        return []
    buffers = {
        name: value.cpu()
        for name, value in unwrap(model).named_buffers()
        if name.endswith(('running_mean', 'running_var'))
    }
    return all_gather_object(buffers)


def prepare_distributed(cfg: Config) -> None:
    """Check the launcher of a run and, without a GPU, set up gloo and DDP without device ids.

    Args:
        cfg: config of the run; changed in place. ``env_cfg.dist_cfg.timeout`` is the time in
            seconds that a rank waits for the others (default 600).

    Raises:
        ValueError: if the launcher cannot be used here, or did not start this process.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    if launcher == 'slurm' and 'SLURM_JOB_ID' in os.environ:
        # jobs on the same machine need different ports
        port = 20000 + int(os.environ['SLURM_JOB_ID']) % 10000
        os.environ.setdefault('MASTER_PORT', str(port))
    _check_launcher(launcher)
    if not torch.cuda.is_available():
        _use_gloo(cfg)


def _check_launcher(launcher: str) -> None:
    """Raise ValueError if a launcher did not start this process, or lacks GPUs."""
    initialized = torch.distributed.is_initialized()
    if launcher == 'pytorch' and 'RANK' not in os.environ and not initialized:
        raise ValueError(
            '--launcher pytorch is for processes started by torchrun: use bash '
            'tools/dist_train.sh CONFIG PROCESSES'
        )
    if not torch.cuda.is_available():
        if launcher != 'pytorch':
            raise ValueError(f'launcher {launcher!r} needs GPUs; on CPU use the launcher pytorch')
        return

    gpus = torch.cuda.device_count()
    if launcher == 'pytorch' and int(os.environ['LOCAL_RANK']) >= gpus:
        raise ValueError(
            f'there are {gpus} GPUs here, and each process needs one; start no more processes '
            'than that'
        )


def _use_gloo(cfg: Config) -> None:
    """Initialize gloo; mmengine's own start would select a CUDA device."""
    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 600)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))
    cfg.env_cfg = dict(cfg.get('env_cfg', {}), dist_cfg=dict(backend='gloo', timeout=timeout))
    # mmengine's default wrapper would pass CUDA device ids
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )
