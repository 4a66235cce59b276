"""What the ranks of a run tell each other."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def any_rank(value: bool) -> bool:
    """Whether a value is true on any rank; all ranks must ask."""
    if get_world_size() == 1:
        return value
    flag = torch.tensor([float(value)])
    all_reduce(flag, 'max')
    return bool(flag.item())


def statistics_of_ranks(model: nn.Module) -> list[dict[str, Tensor]]:
    """The statistics of batch norm of every rank, which differ in the middle of an epoch; all ranks must ask.

    Empty where there is one rank.
    """
    if get_world_size() == 1:
        return []
    buffers = {
        name: value.cpu()
        for name, value in unwrap(model).named_buffers()
        if name.endswith(('running_mean', 'running_var'))
    }
    return all_gather_object(buffers)


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
