"""Devices: the choice for inference and evaluation, and where a tensor lies."""

from __future__ import annotations

import torch
from torch import Tensor


def resolve_device(device: str | torch.device | None) -> str:
    """Return the name of a usable device; for None a GPU where there is one, else the CPU.

    Raises:
        ValueError: if the device does not exist here.
    """
    chosen = str(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(':')[0]
        raise ValueError(
            f"device={chosen!r} cannot be used here ({reason}); give 'cpu', or None for a GPU "
            'where there is one'
        ) from error
    return chosen


def is_cpu(x: Tensor) -> bool:
    """Return whether a tensor lies on the CPU, where other algorithms are the fastest.

    Tests replace it to take the branches for a GPU on a CPU.
    """
    return x.device.type == 'cpu'
