"""What the figures were measured on: hardware, versions, memory of a run, and the machine's ceilings."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from contextlib import suppress

import mmaction
import mmengine
import numpy as np
import torch
from torch import Tensor

from aimclr_mm.engine.hooks.provenance import source
from aimclr_mm.utils.processor import processor
from aimclr_mm.version import __version__

STATUS, CLEAR = '/proc/self/status', '/proc/self/clear_refs'
INSTRUCTIONS = {'avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'}  # that matter here


class PeakMemory:
    """Most memory that was in use inside a ``with`` block, beyond what was in use before it, in MiB.

    On a GPU that which tensors take; on a CPU the resident set of this process (not of its workers), as Linux counts
    it. None where the system does not tell.
    """

    mebibytes: float | None = None

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith('cuda')

    def __enter__(self) -> PeakMemory:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return self
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(
                0
            )  # freed memory that the C library keeps would hide a rise
        try:
            with open(CLEAR, 'w') as file:
                file.write('5')  # sets the high-water mark back
            self.before = _status('VmRSS')
        except OSError:
            self.before = None
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            peak = torch.cuda.max_memory_allocated() if self.cuda else _status('VmHWM')
            self.mebibytes = max(peak - self.before, 0) / 2**20


def _status(name: str) -> int:
    """Bytes of a line of this process' status."""
    with open(STATUS, encoding='utf-8') as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f'{name}:'))


def _commit() -> str | None:
    """Commit of the project, with ``+`` where files differ from it; None outside of a repository."""
    found = source()
    return None if found is None else found['commit'] + ('+' if found['changed'] else '')


def describe(device: str) -> dict:
    """Device, CPU, threads, versions, commit and settings of precision."""
    name, flags = processor()
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else None
    return dict(
        device=torch.cuda.get_device_name() if device.startswith('cuda') else name,
        cpu=name,
        cores=os.cpu_count(),
        instructions=sorted(INSTRUCTIONS & flags),
        threads=torch.get_num_threads(),
        load_before=load,
        commit=_commit(),
        versions=dict(
            aimclr_mm=__version__,
            python=platform.python_version(),
            torch=torch.__version__,
            numpy=np.__version__,
            mmengine=mmengine.__version__,
            mmaction2=mmaction.__version__,
        ),
        tf32=dict(
            matmul=torch.backends.cuda.matmul.allow_tf32, cudnn=torch.backends.cudnn.allow_tf32
        ),
    )


def _rate(amount: float, run, device: str, times: int = 4) -> float:
    """Best of several runs, in 1e9 a second, after one to warm up; that of the first if it takes over 2 seconds."""
    best = 0.0
    for attempt in range(times + 1):
        start = time.perf_counter()
        run()
        if device.startswith('cuda'):
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        if attempt or seconds > 2:
            best = max(best, amount / seconds / 1e9)
        if seconds > 2:
            break
    return best


def ceilings(device: str) -> dict[str, float]:
    """Fastest matrix products (GFLOP/s) and memory traffic (GB/s) that this machine reaches with torch.

    Products of two square matrices, 2048 wide (8192 on a GPU); a + s b -> c with arrays that no cache holds, counted as
    two reads and one write.
    """
    cuda = device.startswith('cuda')
    size, numbers = (8192, 2**28) if cuda else (2048, 2**26)
    result = {}
    for dtype in (torch.float32, torch.bfloat16):
        a: Tensor = torch.randn(size, size, device=device).to(dtype)
        name = f'matmul_{str(dtype).removeprefix("torch.")}_gflops'
        result[name] = _rate(2 * size**3, lambda a=a: torch.mm(a, a), device)
    a, b = (torch.ones(numbers, device=device) for _ in range(2))
    c = torch.empty_like(a)
    result['memory_gbs'] = _rate(3 * 4 * numbers, lambda: torch.add(a, b, alpha=2.0, out=c), device)
    return result
