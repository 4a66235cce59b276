"""One training step: momentum update, losses, backward pass and optimizer, with given views.

Ours is the model's ``train_step`` with views that are ready; the peer is the released processor's
training loop over one batch of the same views. With several ranks only ours is measured, in one
process per rank, with gradients and keys exchanged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseDataPreprocessor, MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor

from aimclr_mm.datasets.batch import SkeletonBatch
from aimclr_mm.engine.distributed import unwrap

from .measure import Case, alternate, figures, quiet
from .official import Official
from .profile import profile
from .settings import (
    AXES,
    Settings,
    labels,
    layout_of,
    project_config,
    skeletons,
    versions_of_ours,
    write_released,
)


class ReadyViews(BaseDataPreprocessor):
    """Data preprocessor of views that are ready."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return the data unchanged."""
        return data


def draw_views(settings: Settings, seed: int = 0) -> dict[str, Tensor]:
    """Return the views of one batch, (N, M, T, V, C) each, of the config's data preprocessor."""
    cfg = project_config(settings)
    x = torch.from_numpy(skeletons(settings, settings.batch, layout_of(cfg), seed))
    preprocessor = MODELS.build(cfg.model.data_preprocessor).to(settings.device)
    batch = SkeletonBatch(x.to(settings.device)[:, None])
    return preprocessor(batch, True)['inputs']


def our_step(
    settings: Settings, dtype: str, variant: Mapping[str, Any], views: dict[str, Tensor]
) -> Callable[[], Tensor]:
    """Return a function that trains a new model for one step and returns the loss."""
    init_default_scope('mmaction')
    cfg = project_config(settings, dtype, variant)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.data_preprocessor = ReadyViews()
    model.mining = settings.mining
    model.to(settings.device).train()
    if torch.distributed.is_initialized():
        model = MMDistributedDataParallel(model, broadcast_buffers=False)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    data = dict(inputs=views, data_samples=None)

    def step() -> Tensor:
        unwrap(model).update_key_encoder()
        return model.train_step(data, optimizer)['loss']

    return step


def released_step(settings: Settings, views: dict[str, Tensor]) -> Callable[[], float]:
    """Return a function that trains the released model for one step and returns the loss."""
    official = Official(settings.official, settings.device)
    batch = [views[name].permute(AXES).contiguous() for name in ('extreme', 'query', 'key')]
    files = write_released(settings.folder, 'step', batch[0].permute(AXES).cpu().numpy())
    processor = official.processor('pretrain', settings, files)
    processor.data_loader['train'] = [(batch, torch.from_numpy(labels(settings.batch)))]

    def step() -> float:
        with official.running():
            processor.train(1)
        return processor.iter_info['loss']

    return step


def our_cases(settings: Settings, views: dict[str, Tensor]) -> dict[str, Case]:
    """Return the versions of ours; with several ranks each handles a batch of its own."""
    samples = settings.batch * settings.ranks
    return {
        name: Case(our_step(settings, dtype, variant, views), samples, peer)
        for name, (dtype, variant, peer) in versions_of_ours(settings).items()
    }


def measure(settings: Settings) -> dict:
    """Return seconds per step."""
    if settings.ranks > 1:
        return measure_ranks(settings)

    torch.manual_seed(0)
    views = draw_views(settings)
    released = {}
    if settings.official is not None:
        released['released'] = Case(released_step(settings, views), settings.batch, peer=True)
    cases = our_cases(settings, views) | released
    times = alternate(cases, settings.rounds, settings.warmup)

    losses = {name: torch.as_tensor(found.result).item() for name, found in times.items()}
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise RuntimeError(f'{name}: the loss is {loss}; its times mean nothing')

    result = dict(loss_after_warmup=losses, **figures(cases, times))
    if settings.profile:
        queue = project_config(settings).model.queue_length
        result['profile'] = {
            name: profile(case.run, settings.device, queue, name)
            for name, case in cases.items()
            if not case.peer
        }
    return result


def measure_ranks(settings: Settings) -> dict:
    """Return seconds per step of several processes on this machine; ours only."""
    if settings.official is not None or settings.variants or settings.profile:
        raise ValueError(
            f'--ranks {settings.ranks} measures ours alone; leave out --official, --variant and '
            '--profile'
        )
    if settings.device == 'cuda' and torch.cuda.device_count() < settings.ranks:
        raise ValueError(
            f'--ranks {settings.ranks} needs as many GPUs; this machine has '
            f'{torch.cuda.device_count()}'
        )

    threads = max(1, torch.get_num_threads() // settings.ranks)
    torch.multiprocessing.spawn(_rank, (settings, threads), settings.ranks)
    found = torch.load(os.path.join(settings.folder, 'ranks.pth'), weights_only=True)
    return dict(threads_of_each_rank=threads, **found)


def _rank(rank: int, settings: Settings, threads: int) -> None:
    """Measure as one of several processes; the first writes the figures."""
    torch.set_num_threads(threads)
    if settings.device == 'cuda':
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(
        'nccl' if settings.device == 'cuda' else 'gloo',
        rank=rank,
        world_size=settings.ranks,
        init_method=f'file://{os.path.join(settings.folder, "store")}',
    )
    torch.manual_seed(rank)
    with quiet():
        cases = our_cases(settings, draw_views(settings, rank))
        times = alternate(cases, settings.rounds, settings.warmup, progress=rank == 0)
    if rank == 0:
        torch.save(figures(cases, times), os.path.join(settings.folder, 'ranks.pth'))
    torch.distributed.destroy_process_group()
