"""Where the time of a run goes, and how near it comes to what the machine can do."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .machine import ceilings
from .timing import STDERR, Case, Times, clock

KINDS = (  # the first whose pattern is found in the name of an operator
    ('convolution', r'conv'),
    ('matrix product', r'addmm|aten::b?mm|linear'),
    ('batch norm', r'batch_norm'),
    ('copy', r'copy|clone|cat$|contiguous|index|gather|scatter|stack|reorder|to_dense|to_mkldnn'),
    ('optimizer and momentum', r'_foreach|_fused|lerp|[Oo]ptimizer'),
    ('elementwise and reduction', r'^aten::'),
)
OUTSIDE = 'outside of operators'
STEPS = 2


def kind_of(name: str, shapes: list, queue: int) -> str:
    """Kind of an operator; what works on K or 1 + K rows or columns is a comparison with the queue."""
    if any(axis in (queue, queue + 1) for shape in shapes if len(shape) < 3 for axis in shape):
        return 'comparison with the queue'
    return next((kind for kind, pattern in KINDS if re.search(pattern, name)), OUTSIDE)


class Operators(TorchDispatchMode):
    """Counts the operators of a run and the bytes of all tensors that they read and write, views left out.

    The bytes are what a run would move if no operator found anything in a cache. The times, for a CPU, are those
    of the calls: torch's own profiler makes the many small allocations of a step so slow there that it doubles.

    Args:
        queue: K.
    """

    def __init__(self, queue: int) -> None:
        super().__init__()
        self.queue, self.bytes, self.number = queue, 0, 0
        self.kinds: dict[str, float] = defaultdict(float)
        self.operators: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Runs an operator, clocks and counts it."""
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        seconds = time.perf_counter() - start
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name = f'{func.namespace}::{func.overloadpacket.__name__}'
        self.kinds[kind_of(name, [tensor.shape for tensor in given], self.queue)] += seconds
        self.operators[name][0] += seconds
        self.operators[name][1] += 1
        if not func.is_view:
            tensors = given + [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            self.number += 1
        return result


def _times_of_kernels(
    run: Callable[[], object], queue: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Seconds of a run's kernels on a GPU by kind, and seconds and calls by operator."""
    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True
    ) as trace:
        for _ in range(STEPS):
            run()
        torch.cuda.synchronize()
    kinds: dict[str, float] = defaultdict(float)
    operators: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    kernels = 0.0
    for event in trace.key_averages(group_by_input_shape=True):
        seconds = event.self_device_time_total / 1e6 / STEPS
        if event.device_type != DeviceType.CPU:
            kernels += seconds
            continue
        kinds[kind_of(event.key, event.input_shapes or [], queue)] += seconds
        operators[event.key][0] += seconds
        operators[event.key][1] += event.count / STEPS
    # those of graphs and compiled code, which no operator has started
    kinds['kernels without an operator'] = max(kernels - sum(kinds.values()), 0.0)
    return kinds, operators


def profile(
    run: Callable[[], object], device: str, queue: int, title: str = '', shown: int = 15
) -> dict:
    """Time by kind and operator, arithmetic and traffic of a run, beside the machine's ceilings in the same minute.

    Args:
        run: one step; it has run before.
        device: ``cpu`` or ``cuda``.
        queue: K.
        title: of the table that is printed on stderr.
        shown: operators that are named.

    Returns:
        ``seconds`` (without the profiler), ``kinds`` and ``operators`` with their share of the time, ``gflop``,
        ``traffic_gb`` and ``operators_run`` of a run, the rates that it reached, ``ceilings``, and ``least_seconds``:
        what arithmetic and traffic alone would take at the ceilings.
    """
    times = Times()
    clock(Case(run, repeats=STEPS), device, times)
    with (
        Operators(queue) as counted,
        FlopCounterMode(display=False) as flops,
    ):
        run()
    if device.startswith('cuda'):
        kinds, operators = _times_of_kernels(run, queue)
    else:
        kinds, operators = counted.kinds, counted.operators
        kinds[OUTSIDE] += max(times.seconds[0] - sum(kinds.values()), 0.0)
    total = sum(kinds.values())
    top = ceilings(device)
    gflop, gigabytes, seconds = flops.get_total_flops() / 1e9, counted.bytes / 1e9, times.seconds[0]
    result = dict(
        seconds=seconds,
        kinds={
            kind: dict(seconds=value, share=value / total)
            for kind, value in sorted(kinds.items(), key=lambda item: -item[1])
        },
        operators=[
            dict(name=name, seconds=value, share=value / total, calls=calls)
            for name, (value, calls) in sorted(operators.items(), key=lambda item: -item[1][0])[
                :shown
            ]
        ],
        gflop=gflop,
        traffic_gb=gigabytes,
        operators_run=counted.number,
        gflops=gflop / seconds,
        traffic_gbs=gigabytes / seconds,
        ceilings=top,
        least_seconds=dict(
            arithmetic_float32=gflop / top['matmul_float32_gflops'],
            arithmetic_bfloat16=gflop / top['matmul_bfloat16_gflops'],
            traffic=gigabytes / top['memory_gbs'],
        ),
    )
    _print(result, title)
    return result


def _print(result: dict, title: str) -> None:
    """Tables of kinds and operators, and the ceilings."""
    table = Table(
        'what', 'seconds', 'share', 'calls', title=f'{title}: {result["seconds"]:.3f} s a step'
    )
    for kind, row in result['kinds'].items():
        table.add_row(kind, f'{row["seconds"]:.4f}', f'{row["share"]:.1%}', '')
    table.add_section()
    for row in result['operators']:
        table.add_row(
            row['name'], f'{row["seconds"]:.4f}', f'{row["share"]:.1%}', f'{row["calls"]:.0f}'
        )
    STDERR.print(table)
    top = result['ceilings']
    STDERR.print(
        f'{result["gflop"]:.1f} GFLOP at {result["gflops"]:.1f} GFLOP/s (matrix products: '
        f'{top["matmul_float32_gflops"]:.1f} float32, {top["matmul_bfloat16_gflops"]:.1f} bfloat16); '
        f'{result["traffic_gb"]:.2f} GB at {result["traffic_gbs"]:.1f} GB/s (memory: '
        f'{top["memory_gbs"]:.1f}); {result["operators_run"]} operators'
    )
