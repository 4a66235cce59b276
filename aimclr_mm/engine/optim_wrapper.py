"""bfloat16 training on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmaction.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from torch import nn


def has_fast_bfloat16() -> bool:
    """Return whether bfloat16 is expected to be faster than float32 on this machine.

    True on a GPU that computes in it (NVIDIA's since Ampere, AMD's), and on a CPU that does not
    report a lack of bfloat16 instructions.
    """
    if torch.cuda.is_available():
        return torch.version.hip is not None or torch.cuda.get_device_capability() >= (8, 0)
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    return any(known.get(name, True) for name in ('avx512_bf16', 'amx_bf16'))


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Run forward passes in bfloat16; weights, losses and memory bank stay in float32.

    mmengine's ``AmpOptimWrapper`` does not support CPUs. bfloat16 has the exponent range of
    float32, so that losses need no scaling.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enable autocast inside the context."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
