"""Checks of everything that a run takes over from a checkpoint, before the first step."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import Runner
from torch import Tensor

NEEDED = ('meta', 'state_dict', 'message_hub', 'optimizer')  # entries that a resume needs
LARGEST = 2**40  # iterations
RATES = ('lr', 'initial_lr', 'weight_decay', 'momentum')  # of an optimizer, not negative


def check_resume(runner: Runner, checkpoint: dict) -> None:
    """Check that a run can continue with all entries of a checkpoint but its weights.

    Args:
        runner: mmengine's runner, with optimizer and training loop.
        checkpoint: content of the file.

    Raises:
        ValueError: if an entry is missing, of another kind, out of range or not finite; the
            message names it.
    """
    missing = [key for key in NEEDED if key not in checkpoint]
    if missing:
        raise ValueError(f'it has no {", ".join(missing)}')
    for key in NEEDED:
        _demand(isinstance(checkpoint[key], dict), key, checkpoint[key], 'a dict')

    _check_meta(checkpoint['meta'], runner)
    _check_hub(checkpoint['message_hub'])
    _check_optimizer(checkpoint['optimizer'], runner)
    if isinstance(runner.param_schedulers, list) and 'param_schedulers' in checkpoint:
        current = [schedule.state_dict() for schedule in runner.param_schedulers]
        _check_like('param_schedulers', checkpoint['param_schedulers'], current)


def _check_meta(meta: dict, runner: Runner) -> None:
    """Check position, seed and record of the run."""
    _check_whole('meta.epoch', meta.get('epoch'), runner.max_epochs or LARGEST)
    _check_whole('meta.iter', meta.get('iter'))
    if meta.get('seed') is not None:
        _check_whole('meta.seed', meta['seed'], 2**32 - 1)

    provenance = meta.get('provenance', {})
    _demand(isinstance(provenance, dict), 'meta.provenance', provenance, 'a dict')
    for key in ('data', 'environment', 'settings'):
        part = provenance.get(key, {})
        _demand(isinstance(part, dict), f'meta.provenance.{key}', part, 'a dict')

    ranks = meta.get('statistics_of_ranks', [])
    fits = isinstance(ranks, list) and all(isinstance(rank, dict) for rank in ranks)
    _demand(fits, 'meta.statistics_of_ranks', ranks, 'a list of dicts')


def _check_hub(hub: dict) -> None:
    """Check mmengine's message hub: logged values, and the position within an epoch."""
    for key in ('log_scalars', 'runtime_info', 'resumed_keys'):
        _demand(isinstance(hub.get(key), dict), f'message_hub.{key}', hub.get(key), 'a dict')
    for name, buffer in hub['log_scalars'].items():
        if not isinstance(buffer, HistoryBuffer):
            _check_log(f'message_hub.log_scalars.{name}', buffer)

    info, place = hub['runtime_info'], 'message_hub.runtime_info'
    for key in ('iter', 'epoch', 'max_iters', 'max_epochs', 'batches'):
        if info.get(key) is not None:
            _check_whole(f'{place}.{key}', info[key])
    if 'batch' in info:
        _check_whole(f'{place}.batch', info['batch'], info.get('batches', LARGEST))

    kept = info.get('keep_ckpt_ids', [])
    _demand(isinstance(kept, list), f'{place}.keep_ckpt_ids', kept, 'a list')
    for number in kept:
        _check_whole(f'{place}.keep_ckpt_ids', number)
    for key in info:
        if str(key).startswith('best_score'):
            _demand(isinstance(info[key], Real), f'{place}.{key}', info[key], 'a number')


def _check_log(name: str, buffer: Any) -> None:
    """Check logged values, which may be infinite: a list of values and one of counts."""
    lists = buffer if isinstance(buffer, (list, tuple)) else ()
    fits = len(lists) == 2 and all(isinstance(values, list) for values in lists)
    fits = fits and len(lists[0]) == len(lists[1])
    fits = fits and all(isinstance(value, Real) for values in lists for value in values)
    _demand(fits, name, buffer, 'a list of values and one of counts')


def _check_optimizer(saved: dict, runner: Runner) -> None:
    """Check the settings and the states of the optimizer against those of the run."""
    groups = runner.optim_wrapper.param_groups
    states = saved.get('state', {})
    _demand(isinstance(states, dict), 'optimizer.state', states, 'a dict')
    if not isinstance(groups, list):  # several optimizers, in a config of one's own
        return

    settings = {key: value for key, value in saved.items() if key != 'state'}
    _check_like('optimizer', settings, runner.optim_wrapper.state_dict())
    for group in settings.get('param_groups', []):
        for key in RATES:
            rate = group.get(key)
            fits = not isinstance(rate, Real) or rate >= 0
            _demand(fits, f'optimizer.param_groups.{key}', rate, 'not negative')

    parameters = [parameter for group in groups for parameter in group['params']]
    for index, state in states.items():
        name = f'optimizer.state.{index}'
        _check_whole(name, index, len(parameters) - 1)
        _demand(isinstance(state, dict), name, state, 'a dict')
        for key, value in state.items():
            _check_state(f'{name}.{key}', value, parameters[index])


def _check_state(name: str, value: Any, parameter: Tensor) -> None:
    """Check a value of a parameter's state: a number, or a tensor of one or of its shape."""
    if isinstance(value, Tensor):
        shape = tuple(parameter.shape)
        _demand(tuple(value.shape) in (shape, ()), name, tuple(value.shape), f'of shape {shape}')
        fits = value.dtype == parameter.dtype or value.ndim == 0
        _demand(fits, name, value.dtype, f'a tensor of {parameter.dtype}')
    else:
        _demand(value is None or isinstance(value, Real), name, value, 'a number or a tensor')
    _check_finite(name, value)


def _check_like(name: str, saved: Any, current: Any) -> None:
    """Check that a saved value is finite and of the kind of the current one, with all its parts."""
    if isinstance(current, dict):
        _demand(isinstance(saved, dict), name, saved, 'a dict')
        for key in saved:
            _check_like(f'{name}.{key}', saved[key], current.get(key))
    elif isinstance(current, (list, tuple)):
        fits = isinstance(saved, (list, tuple)) and len(saved) == len(current)
        _demand(fits, name, saved, f'a list of {len(current)} entries')
        for place, (old, new) in enumerate(zip(saved, current)):
            _check_like(f'{name}.{place}', old, new)
    else:
        if current is not None and saved is not None:
            _demand(_kind(saved) == _kind(current), name, saved, f'a {_kind(current)}')
        _check_finite(name, saved)


def _kind(value: Any) -> str:
    if isinstance(value, Real) and not isinstance(value, bool):
        return 'number'
    return 'tensor' if isinstance(value, Tensor) else type(value).__name__


def _check_finite(name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        finite = bool(torch.isfinite(value).all())
        _demand(finite, name, 'a tensor with NaN or infinity', 'finite')
    elif isinstance(value, float):
        _demand(math.isfinite(value), name, value, 'finite')


def _check_whole(name: str, value: Any, high: int = LARGEST) -> None:
    """Raise ValueError for a value other than an integer from 0 to ``high``."""
    fits = type(value) is int and 0 <= value <= high
    _demand(fits, name, value, f'a whole number from 0 to {high}')


def _demand(condition: bool, name: str, value: Any, wanted: str) -> None:
    if not condition:
        raise ValueError(f'its {name[:200]} is {str(value)[:60]!r}; it must be {wanted}')
