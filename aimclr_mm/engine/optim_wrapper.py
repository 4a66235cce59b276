"""Mixed precision where mmengine has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmaction.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from torch import nn


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: on a GPU, and on a CPU that does not lack instructions for it."""
    if torch.cuda.is_available():
        return True
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    return any(known.get(name, True) for name in ('avx512_bf16', 'amx_bf16'))


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16 on any device; weights, losses and the queue stay in float32.

    mmengine's ``AmpOptimWrapper`` refuses to work on a CPU. bfloat16 has the range of float32, so that losses need no
    scaling.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Runs what is inside under autocast."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
