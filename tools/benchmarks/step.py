"""One training step: momentum update, losses, backward pass and optimizer, with given views.

Ours is the model's own ``train_step`` with views that are ready; the peer is the released processor's training loop
over one batch of the same views. With several ranks only ours are measured, one process each, with gradients and keys
exchanged.
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

from aimclr_mm.engine.distributed import unwrap

from .data import AXES, labels, skeletons, write_released
from .official import Official
from .profile import profile
from .settings import Settings, layout_of, project_config, versions_of_ours
from .timing import Case, alternate, figures, quiet


class ReadyViews(BaseDataPreprocessor):
    """Takes the place of a data preprocessor: the views are there already."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """The data as they are."""
        return data


def draw_views(settings: Settings, seed: int = 0) -> dict[str, Tensor]:
    """The views of one batch, (N, M, T, V, C) each, by the config's data preprocessor."""
    cfg = project_config(settings)
    x = torch.from_numpy(skeletons(settings, settings.batch, layout_of(cfg), seed)).to(
        settings.device
    )[:, None]
    preprocessor = MODELS.build(cfg.model.data_preprocessor).to(settings.device)
    return preprocessor(dict(inputs=x), True)['inputs']


def our_step(
    settings: Settings, dtype: str, variant: Mapping[str, Any], views: dict[str, Tensor]
) -> Callable[[], Tensor]:
    """A function that does one step of a new model and returns the loss."""
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
    """A function that does one step of the released code on the same views and returns the loss."""
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


def measure(settings: Settings) -> dict:
    """Seconds a step."""
    if settings.ranks > 1:
        return measure_ranks(settings)
    torch.manual_seed(0)
    views, cases = draw_views(settings), {}
    released = None if settings.official is None else released_step(settings, views)
    for name, (dtype, variant, peer) in versions_of_ours(settings).items():
        cases[name] = Case(our_step(settings, dtype, variant, views), settings.batch, peer)
    if released is not None:
        cases['released'] = Case(released, settings.batch, True)
    times = alternate(cases, settings.rounds, settings.warmup, settings.device)
    losses = {name: torch.as_tensor(found.result).item() for name, found in times.items()}
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise RuntimeError(
                f'{name}: the loss after {settings.warmup} steps is {loss}; its times mean nothing'
            )
    result = figures(cases, times)
    if settings.profile:
        queue = project_config(settings).model.queue_length
        result['profile'] = {
            name: profile(case.run, settings.device, queue, name)
            for name, case in cases.items()
            if not case.peer
        }
    return dict(loss_after_warmup=losses, **result)


def measure_ranks(settings: Settings) -> dict:
    """Seconds a step of several processes on this machine, each with a batch of its own; ours only."""
    if settings.official is not None or settings.variants or settings.profile:
        raise ValueError(
            f'--ranks {settings.ranks} measures ours alone; leave out --official, --variant and --profile'
        )
    if settings.device == 'cuda' and torch.cuda.device_count() < settings.ranks:
        raise ValueError(
            f'--ranks {settings.ranks} needs as many GPUs; this machine has {torch.cuda.device_count()}'
        )
    threads = max(1, torch.get_num_threads() // settings.ranks)
    torch.multiprocessing.spawn(_rank, (settings, threads), settings.ranks)
    return dict(
        threads_of_each_rank=threads,
        **torch.load(os.path.join(settings.folder, 'ranks.pth'), weights_only=True),
    )


def _rank(rank: int, settings: Settings, threads: int) -> None:
    """One process; the first one writes the figures, of the samples of all."""
    with quiet():
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
        views = draw_views(settings, rank)
        samples = settings.batch * settings.ranks
        cases = {
            name: Case(our_step(settings, dtype, variant, views), samples)
            for name, (dtype, variant, _) in versions_of_ours(settings).items()
        }
        times = alternate(
            cases, settings.rounds, settings.warmup, settings.device, progress=rank == 0
        )
        if rank == 0:
            torch.save(figures(cases, times), os.path.join(settings.folder, 'ranks.pth'))
        torch.distributed.destroy_process_group()
