"""One training step: momentum update, losses, backward pass and optimizer, with given views.

Ours is the model's ``train_step``; the peer is the released training loop over one batch of the
same views.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Callable

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.profiler import ProfilerActivity

from aimclr_mm.datasets.batch import SkeletonBatch

from .released import Released
from .timing import Case, compare
from .workload import TRANSPOSE, Settings, build_config, our_configs, skeletons, write_released

CATEGORIES = {  # the first whose pattern is found in the name of an operator
    'convolution': r'conv',
    'matrix product': r'addmm|aten::b?mm|linear',
    'batch norm': r'batch_norm|BatchNorm',
    'copy': r'copy|clone|cat$|contiguous|index|gather|scatter|stack',
    'elementwise and reduction': r'^aten::',
    'other': r'',
}
SHOWN = 15  # operators in the table


def draw_views(settings: Settings) -> dict[str, Tensor]:
    """Return the views of one batch, (N, M, T, V, C) each, from the config's data preprocessor."""
    x = torch.from_numpy(skeletons(settings, settings.batch)).to(settings.device)
    cfg = build_config(settings).model.data_preprocessor
    preprocessor = MODELS.build(cfg).to(settings.device)
    return preprocessor(SkeletonBatch(x[:, None]), True)['inputs']


def our_step(cfg: Config, settings: Settings, views: dict[str, Tensor]) -> Callable[[], float]:
    """Return a function that trains a new model for one step and returns the loss."""
    init_default_scope('mmaction')
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.data_preprocessor = BaseDataPreprocessor()  # the views are ready
    model.mining = settings.mining
    model.to(settings.device).train()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    data = dict(inputs=views, data_samples=None)

    def step() -> float:
        model.update_key_encoder()
        return model.train_step(data, optimizer)['loss'].item()

    return step


def released_step(settings: Settings, views: dict[str, Tensor]) -> Callable[[], float]:
    """Return a function that trains the released model for one step and returns the loss."""
    files = write_released(settings.folder, views['query'].cpu().numpy())
    processor, step = Released(settings).training(files)
    batch = [views[name].permute(TRANSPOSE).contiguous() for name in ('extreme', 'query', 'key')]
    processor.data_loader['train'] = [(batch, torch.zeros(settings.batch))]
    return step


def category(name: str) -> str:
    """Return the category of an operator."""
    return next(kind for kind, pattern in CATEGORIES.items() if re.search(pattern, name))


def profile(name: str, run: Callable[[], object]) -> dict[str, dict[str, float]]:
    """Profile a run: return category -> seconds (of the kernels on a GPU) and share of the time."""
    cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with torch.profiler.profile(activities=activities) as trace:
        run()
    order = 'self_device_time_total' if cuda else 'self_cpu_time_total'  # microseconds
    averages = trace.key_averages()
    table = averages.table(sort_by=order, row_limit=SHOWN, max_name_column_width=40)
    print(f'{name}\n{table}', file=sys.stderr)

    seconds = Counter()
    for event in averages:
        if event.device_type == torch.autograd.DeviceType.CPU:  # kernels count for their operator
            seconds[category(event.key)] += getattr(event, order) / 1e6
    shares = {kind: value / seconds.total() for kind, value in seconds.most_common()}
    print(*(f'{kind}: {share:.1%}' for kind, share in shares.items()), sep='\n', file=sys.stderr)
    return {kind: dict(seconds=seconds[kind], share=share) for kind, share in shares.items()}


def measure(settings: Settings) -> dict:
    """Return seconds per step, and the loss of the first step of each version."""
    torch.manual_seed(0)
    views = draw_views(settings)
    cases = {}
    for name, (cfg, peer) in our_configs(settings).items():
        cases[name] = Case(our_step(cfg, settings, views), settings.batch, peer)
    if settings.official is not None:
        cases['released'] = Case(released_step(settings, views), settings.batch, peer=True)

    losses = {name: case.run() for name, case in cases.items()}
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise RuntimeError(f'{name}: the loss is {loss}; its times mean nothing')

    result = dict(loss=losses, **compare('step', cases, settings.rounds))
    if settings.profile:
        ours = [name for name, case in cases.items() if not case.peer]
        result['profile'] = {name: profile(name, cases[name].run) for name in ours}
    return result
