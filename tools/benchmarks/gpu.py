"""What changes on a GPU: exactness, repeatability, CUDA graphs, kernels and idle time.

The parts are independent: one that fails is reported and costs nothing else.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.profiler import ProfilerActivity

from aimclr_mm.datasets.batch import SkeletonBatch
from aimclr_mm.engine import GraphedStep

from .timing import Case, compare
from .workload import Settings, build_config, skeletons

STEPS = 4  # of a training that is compared with another one
KERNELS = 10  # longest kernels in the report
SAMPLES = 16  # of the batch in float64


def build(settings: Settings, dtype: str = 'float32') -> tuple[BaseModel, OptimWrapper]:
    """Return a new model on the device, in training mode, and its optimizer wrapper."""
    init_default_scope('mmaction')
    cfg = build_config(settings, dtype)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.mining = settings.mining
    model.to(settings.device).train()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def batches(settings: Settings) -> list[SkeletonBatch]:
    """Return batches of random skeletons on the device."""
    x = torch.from_numpy(skeletons(settings, STEPS * settings.batch)).to(settings.device)
    return [SkeletonBatch(part[:, None]) for part in x.split(settings.batch)]


def trainer(settings: Settings, dtype: str, graph: bool) -> Callable[[SkeletonBatch], Tensor]:
    """Return a function that trains a new model with a batch and returns its loss."""
    model, optim_wrapper = build(settings, dtype)
    step = GraphedStep(model, optim_wrapper) if graph else None

    def run(batch: SkeletonBatch) -> Tensor:
        model.update_key_encoder()
        logs = step(batch) if step else model.train_step(batch, optim_wrapper=optim_wrapper)
        return logs['loss'].detach().clone()

    return run


def losses(settings: Settings, dtype: str, graph: bool, data: list[SkeletonBatch]) -> list[float]:
    """Return the losses of a few steps of a new training; each has a seed of its own."""
    run = trainer(settings, dtype, graph)
    found = []
    for seed, batch in enumerate(data):
        torch.manual_seed(seed)
        found.append(run(batch))
    return torch.stack(found).tolist()


def gradient(settings: Settings, device: str, dtype: torch.dtype) -> Tensor:
    """Return the gradient (P,) of a batch without dropout, in float64."""
    model, _ = build(settings)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

    model.to(device, dtype)
    x = torch.from_numpy(skeletons(settings, SAMPLES)).to(device, dtype)
    views = {name: x.roll(index, 2) for index, name in enumerate(model.data_preprocessor.views)}
    sum(model.loss(model.data_preprocessor.form_streams(views)).values()).backward()
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(grads).double().cpu()


def check_exactness(settings: Settings) -> dict[str, float]:
    """Return the relative errors of the gradient, compared with float64 on the CPU."""
    torch.backends.cudnn.allow_tf32 = False  # PyTorch's default for convolutions is TF32
    exact = gradient(settings, 'cpu', torch.float64)
    errors = {}
    for device in {'cpu', settings.device}:
        found = gradient(settings, device, torch.float32)
        errors[device] = ((found - exact).norm() / exact.norm()).item()
    return errors


def check_repeatability(settings: Settings, data: list[SkeletonBatch]) -> dict[str, bool]:
    """Return whether two trainings with the same seeds have the same losses."""
    return {
        dtype: losses(settings, dtype, False, data) == losses(settings, dtype, False, data)
        for dtype in settings.dtype
    }


def check_graphs(settings: Settings, data: list[SkeletonBatch]) -> dict[str, float]:
    """Return the largest relative difference of the losses of graphed and eager trainings."""
    result = {}
    for dtype in settings.dtype:
        eager, graphed = (torch.tensor(losses(settings, dtype, g, data)) for g in (False, True))
        result[dtype] = ((graphed - eager) / eager).abs().max().item()
    return result


def profile(run: Callable[[], object]) -> dict:
    """Return kernels per step, the share of time without one, and the longest kernels."""
    run()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        for _ in range(STEPS):
            run()
        torch.cuda.synchronize()
    with tempfile.NamedTemporaryFile(suffix='.json') as file:
        trace.export_chrome_trace(file.name)
        events = [e for e in json.load(file)['traceEvents'] if e.get('ph') == 'X' and 'dur' in e]

    on_gpu = [e for e in events if e.get('cat') in ('kernel', 'gpu_memcpy', 'gpu_memset')]
    waits = [e for e in events if e.get('cat') == 'cuda_runtime' and 'Synchronize' in e['name']]
    busy, end = 0.0, 0.0
    longest = Counter()
    for start, duration, name in sorted((e['ts'], e['dur'], e['name']) for e in on_gpu):
        busy += max(start + duration - max(start, end), 0)
        end = max(end, start + duration)
        longest[name] += duration / STEPS / 1e3

    span = end - min(e['ts'] for e in on_gpu)
    return dict(
        kernels=len(on_gpu) / STEPS,
        waits=(len(waits) - 1) / STEPS,
        busy_ms=busy / STEPS / 1e3,
        idle=1 - busy / span,
        longest_ms=dict(longest.most_common(KERNELS)),
    )


def attempt(name: str, check: Callable[[], dict]) -> dict:
    """Return the figures of a part, or its error."""
    try:
        result = check()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        result = dict(error=f'{type(error).__name__}: {error}')
    print(f'{name}: {json.dumps(result)}', file=sys.stderr)
    return {name: result}


def measure(settings: Settings) -> dict:
    """Return all figures; on a CPU those that need no GPU."""
    on_gpu = settings.device == 'cuda'
    torch.backends.cudnn.benchmark = True  # as the configs do
    data = batches(settings)
    result = attempt('gradient_error', lambda: check_exactness(settings))
    result |= attempt('repeats', lambda: check_repeatability(settings, data))
    if on_gpu:
        result |= attempt('graph_difference', lambda: check_graphs(settings, data))

    cases = {}
    for dtype in settings.dtype:
        for graph in (False, True)[: 1 + on_gpu]:
            run = trainer(settings, dtype, graph)
            name = f'{dtype} {"CUDA graph" if graph else "eager"}'
            cases[name] = Case(lambda run=run: run(data[0]).item(), settings.batch, peer=not graph)

    result |= attempt('steps', lambda: compare('step', cases, settings.rounds))
    if on_gpu:
        for name, case in cases.items():
            result |= attempt(f'profile {name}', lambda case=case: profile(case.run))
    return result
