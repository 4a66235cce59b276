"""Where the time of a step goes, and how close it comes to the limits of the machine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .measure import STDERR, Case, ceilings, timer

KINDS = {  # the first whose pattern is found in the name of an operator
    'convolution': r'conv',
    'matrix product': r'addmm|aten::b?mm|linear',
    'batch norm': r'batch_norm',
    'copy': r'copy|clone|cat$|contiguous|index|gather|scatter|stack|reorder|to_dense|to_mkldnn',
    'optimizer and momentum': r'_foreach|_fused|lerp|[Oo]ptimizer',
    'elementwise and reduction': r'^aten::',
}
OTHER = 'outside of operators'
STEPS = 2
SHOWN = 15  # operators


def kind_of(name: str, shapes: Sequence[Sequence[int]], queue: int) -> str:
    """Return the kind of an operator; K or 1 + K rows or columns mean the memory bank."""
    matrices = [shape for shape in shapes if len(shape) < 3]
    if any(axis in (queue, queue + 1) for shape in matrices for axis in shape):
        return 'comparison with the queue'
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name)), OTHER)


class Traffic(TorchDispatchMode):
    """Count operators and the bytes of the tensors that they read and write, views left out.

    A run would move these bytes if no operator found anything in a cache.
    """

    bytes = operators = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run and count an operator."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
            self.operators += 1
        return result


def operator_times(run: Callable[[], object], queue: int) -> tuple[Counter, Counter, Counter]:
    """Profile a run; return seconds by kind and by operator, and calls by operator.

    On a GPU the times are those of kernels.
    """
    cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with torch.profiler.profile(activities=activities, record_shapes=True) as trace:
        for _ in range(STEPS):
            run()
        timer()  # waits for a GPU

    kinds, seconds, calls = Counter(), Counter(), Counter()
    for event in trace.key_averages(group_by_input_shape=True):
        if event.device_type != torch.autograd.DeviceType.CPU:
            continue
        time = event.self_device_time_total if cuda else event.self_cpu_time_total
        kinds[kind_of(event.key, event.input_shapes or [], queue)] += time / 1e6 / STEPS
        seconds[event.key] += time / 1e6 / STEPS
        calls[event.key] += event.count / STEPS
    return kinds, seconds, calls


def profile(run: Callable[[], object], device: str, queue: int, title: str = '') -> dict:
    """Return time by kind and operator, arithmetic and traffic of a run, and the machine's limits.

    Args:
        run: one step; it has run before.
        device: ``cpu`` or ``cuda``.
        queue: K.
        title: of the table that is printed on stderr.

    Returns:
        ``seconds`` (without the profiler, which slows small operators down), ``kinds`` and
        ``operators`` with their share of the profiled time, ``gflop``, ``traffic_gb`` and
        ``operators_run``, the rates reached, ``ceilings``, and ``least_seconds``: what arithmetic
        and traffic alone would take at the ceilings.
    """
    seconds = Case(run, repeats=STEPS).seconds()
    with Traffic() as traffic, FlopCounterMode(display=False) as flops:
        run()
    kinds, operators, calls = operator_times(run, queue)

    total, top = kinds.total(), ceilings(device)
    gflop, gigabytes = flops.get_total_flops() / 1e9, traffic.bytes / 1e9
    result = dict(
        seconds=seconds,
        kinds={
            name: dict(seconds=value, share=value / total) for name, value in kinds.most_common()
        },
        operators=[
            dict(name=name, seconds=value, share=value / total, calls=calls[name])
            for name, value in operators.most_common(SHOWN)
        ],
        gflop=gflop,
        traffic_gb=gigabytes,
        operators_run=traffic.operators,
        gflops=gflop / seconds,
        traffic_gbs=gigabytes / seconds,
        ceilings=top,
        least_seconds=dict(
            arithmetic_float32=gflop / top['matmul_float32_gflops'],
            arithmetic_bfloat16=gflop / top['matmul_bfloat16_gflops'],
            traffic=gigabytes / top['memory_gbs'],
        ),
    )
    show(result, title)
    return result


def show(result: dict, title: str) -> None:
    """Print tables of kinds and operators, and the limits, on stderr."""
    title = f'{title}: {result["seconds"]:.3f} s a step'
    table = Table('operators', 'seconds', 'share', 'calls', title=title)
    for kind, row in result['kinds'].items():
        table.add_row(kind, f'{row["seconds"]:.4f}', f'{row["share"]:.1%}', '')
    table.add_section()
    for row in result['operators']:
        numbers = f'{row["seconds"]:.4f}', f'{row["share"]:.1%}', f'{row["calls"]:.0f}'
        table.add_row(row['name'], *numbers)
    STDERR.print(table)

    top = result['ceilings']
    STDERR.print(
        f'{result["gflop"]:.1f} GFLOP at {result["gflops"]:.1f} GFLOP/s (matrix products: '
        f'{top["matmul_float32_gflops"]:.1f} float32, {top["matmul_bfloat16_gflops"]:.1f} '
        f'bfloat16); {result["traffic_gb"]:.2f} GB at {result["traffic_gbs"]:.1f} GB/s (memory: '
        f'{top["memory_gbs"]:.1f}); {result["operators_run"]} operators'
    )
