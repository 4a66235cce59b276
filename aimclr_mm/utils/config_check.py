"""Checks of a config before anything is built from it: unknown settings, wrong types and ranges.

mmengine's registries name an unknown type or argument only when they build it, after the data are
read, and without a suggestion. They do not check values.
"""

from __future__ import annotations

import difflib
import inspect
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from mmaction import registry
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
# top-level settings that mmengine's runner reads, in addition to its own arguments
TOP = {
    *inspect.signature(Runner).parameters,
    'activation_checkpointing',
    'compile',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
} - {'cfg', 'launcher'}
# settings that mmengine removes before it builds, and arguments that it passes itself
REMOVED = {'type', '_scope_', 'priority', 'constructor', 'paramwise_cfg', 'convert_to_iter_based'}
PASSED = {
    *('dataloader', 'dataset', 'evaluator', 'model', 'module'),
    *('optimizer', 'param_name', 'params', 'runner', 'self'),
}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LOADER_SETTINGS = {
    *inspect.signature(DataLoader).parameters,
    'num_batch_per_epoch',
    'disable_subprocess_warning',
}
# names that are known in settings without a type
NAMES = {
    'randomness': set(inspect.signature(Runner.set_randomness).parameters) - {'self'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'env_cfg': {'allow_tf32', 'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    **dict.fromkeys(LOADERS, LOADER_SETTINGS),
}
MINIMUM = dict(
    batch_size=1,
    num_workers=0,
    max_epochs=1,
    val_interval=1,
    base_batch_size=1,
    in_channels=1,
    out_channels=1,
    base_channels=1,
    hidden_channels=1,
    queue_length=1,
)
TYPES = {
    'load_from': str | None,
    'resume': bool,
    'log_level': str,
    'work_dir': str,
    'train_cfg': dict,
    'optim_wrapper': dict,
    'val_cfg': dict | None,
    'val_evaluator': dict | list | None,
    'test_evaluator': dict | list | None,
    'custom_hooks': list | None,
    'auto_scale_lr.enable': bool,
    'env_cfg.allow_tf32': bool,
    'env_cfg.dist_cfg.timeout': float,
    **dict.fromkeys(LOADERS, dict | None),
    **{f'{name}.dataset': dict for name in LOADERS},
}
LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
# types that a config can express, in words; a value of any other type is accepted
WORDS = {
    int: 'a whole number',
    float: 'a number',
    bool: 'True or False',
    str: 'text',
    types.NoneType: 'None',
    Tensor: 'a tensor',
    dict: 'a dict',
    Mapping: 'a dict',
    list: 'a list',
    tuple: 'a list',
    Sequence: 'a list',
}


def check_options(cfg: Mapping, options: Iterable[str]) -> None:
    """Raise ValueError for a key of ``--cfg-options`` that would have no effect.

    Args:
        cfg: config under the options.
        options: keys, such as ``model.temperature``.
    """
    for option in options:
        first, *rest = option.split('.')
        if first in TOP:
            continue
        if first not in cfg:
            raise ValueError(
                f'--cfg-options {option}: a config has no setting {first!r}{_suggest(first, TOP)}'
            )

        paths = [path for path, _, _ in _walk(cfg) if rest and path.endswith(f'.{rest[-1]}')]
        remedy = f'set {" or ".join(paths[:4])}' if paths else 'change it in a config of your own'
        raise ValueError(
            f'--cfg-options {option}: {first!r} is a variable of the config file, which was used '
            f'when the file was read; {remedy}'
        )


def check_config(cfg: Mapping, name: str) -> None:
    """Raise ValueError, with the path of the setting, for a setting that cannot be right.

    A setting with a ``type`` is compared with the signature of that type's constructor: unknown and
    missing arguments, and values that do not fit the annotation.

    Args:
        cfg: config of a training.
        name: name of its file, for the message.
    """
    _check_top(cfg, name)
    _check_hooks(cfg)
    for path, key, value in _walk(cfg):
        _check_value(path, key, value)
        if not isinstance(value, Mapping):
            continue
        if 'type' in value:
            _check_arguments(path, value)
        if path in LOADERS and 'dataset' not in value:
            raise ValueError(f'{path}.dataset is missing')
        for setting in value if path in NAMES else ():
            if setting not in NAMES[path]:
                suggestion = _suggest(setting, NAMES[path])
                raise ValueError(f'{path}.{setting}: {path} has no such setting{suggestion}')


def _check_top(cfg: Mapping, name: str) -> None:
    """Check that the top-level settings are there and spelled right."""
    for key in cfg:
        near = difflib.get_close_matches(key, TOP, 1, 0.85)
        if key not in TOP and near:
            raise ValueError(
                f'config {name!r}: there is no setting {key!r}; did you mean {near[0]!r}? A '
                'variable of your own needs a less similar name'
            )
    # the config of an encoder that is only used, not trained, has test data only
    only_tests = 'test_dataloader' in cfg and 'train_cfg' not in cfg
    for key in ('model', 'test_dataloader' if only_tests else 'train_dataloader'):
        if not isinstance(cfg.get(key), Mapping):
            raise ValueError(
                f'config {name!r} has no {key}, or it is not a dict; a config of this project '
                "starts with _base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', ...]"
            )
    if cfg.get('default_scope') != 'mmaction':
        raise ValueError(
            f'config {name!r}: default_scope is {cfg.get("default_scope")!r}; it must be '
            "'mmaction', the scope of the classes of this package. Register your own in "
            "mmaction.registry or mmengine.registry, or refer to another library as type='library."
            "Class'"
        )


def _check_hooks(cfg: Mapping) -> None:
    """Raise ValueError if no hook would update the key encoder of a model that is trained."""
    if not cfg.get('train_cfg'):  # the config of a shipped encoder
        return
    kinds = _find(cfg['model']['type']) if isinstance(cfg['model'].get('type'), str) else ()
    if not any(hasattr(kind, 'update_key_encoder') for kind in kinds):
        return

    hooks = [
        hook.get('type') for hook in cfg.get('custom_hooks') or () if isinstance(hook, Mapping)
    ]
    found = [kind for hook in hooks for kind in (_find(hook) if isinstance(hook, str) else {hook})]
    bases = {base.__name__ for kind in found for base in inspect.getmro(kind)}
    if 'MomentumUpdateHook' not in bases:
        raise ValueError(
            f'custom_hooks has no MomentumUpdateHook, so the key encoder of '
            f'{cfg["model"]["type"]} would never change; keep the hooks of the base config '
            '(custom_hooks = [*_base_.custom_hooks, ...])'
        )


def _walk(value: Any, path: str = '') -> Iterator[tuple[str, str, Any]]:
    """Yield (path, last key, value) of all settings that the runner reads, at any depth."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if not path and key not in TOP:
            continue
        inner = f'{path}.{key}' if path else str(key)
        yield inner, str(key), item
        if isinstance(item, (Mapping, list, tuple)):
            yield from _walk(item, inner)


def _suggest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f'; did you mean {near[0]!r}?' if near else ''


def _check_value(path: str, key: str, value: Any) -> None:
    """Check the range of a number, and the type of a setting of the runner."""
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f'{path} is nan; it must be a number')
    if path in TYPES and not _fits(value, TYPES[path]):
        raise ValueError(f'{path}={_short(value)}; it must be {_in_words(TYPES[path])}')
    if path == 'log_level' and value not in LEVELS:
        raise ValueError(f'log_level={value!r}; it must be one of {", ".join(LEVELS)}')
    if path == 'env_cfg.dist_cfg.timeout' and not 0 < value < math.inf:
        raise ValueError(f'{path}={value}; it must be a positive number of seconds')

    minimum = MINIMUM.get(key)
    optional = value is None and key != 'batch_size'
    if minimum is not None and not optional and (not _fits(value, int) or value < minimum):
        raise ValueError(f'{path}={value!r}; it must be a whole number of at least {minimum}')


def _check_arguments(path: str, value: Mapping) -> None:
    """Compare a setting with a type to the signature of that type's constructor."""
    kind = value['type']
    found = _find(kind) if isinstance(kind, str) else {kind}
    if not found:
        names = {name for box in REGISTRIES for name in box.module_dict}
        raise ValueError(
            f'{path}.type={kind!r}: there is no such type{_suggest(kind, names)} (register types '
            'of your own with custom_imports)'
        )
    if len(found) > 1:  # registered for several purposes; only the builder knows which is meant
        return

    (constructor,) = found
    name = getattr(constructor, '__name__', str(kind))
    known, accepts_others = parameters(constructor)
    for key, item in value.items():
        if key in REMOVED:
            continue
        if key in known:
            default, hint = known[key]
            if not _fits(item, hint) and not (item is None and default is None):
                raise ValueError(f'{path}.{key}={_short(item)}; {name} takes {_in_words(hint)}')
        elif not accepts_others or difflib.get_close_matches(key, known, 1, 0.8):
            suggestion = _suggest(key, known)
            raise ValueError(f'{path}.{key}={_short(item)}: {name} has no such setting{suggestion}')

    required = [key for key, (default, _) in known.items() if default is inspect.Parameter.empty]
    missing = [key for key in required if key not in value and key not in PASSED]
    if missing and inspect.isclass(constructor):
        raise ValueError(f'{path}.{missing[0]} is missing; {name} needs it')


def _find(name: str) -> set[Any]:
    """Return everything that is registered under a name, in any registry."""
    found = set()
    for box in REGISTRIES:
        with suppress(ImportError):  # some registries of mmaction2 name missing modules
            box.import_from_location()
            if '.' in name:  # with a scope, or a module
                found.add(box.get(name))
        while box is not None:  # box.get(name) would try to import a module of that name
            found.add(box.module_dict.get(name))
            box = box.parent
    return found - {None}


def parameters(kind: Any) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """Return the arguments of a constructor, including those passed on to its bases.

    Returns:
        Name -> (default, annotation), and whether other names may be accepted: a class of another
        library need not pass its keyword arguments on to its bases.
    """
    known: dict[str, tuple[Any, Any]] = {}
    accepts_others = False
    owners = [kind]
    if inspect.isclass(kind):
        owners = [base for base in kind.__mro__ if '__init__' in vars(base)]

    for owner in owners:
        function = owner.__init__ if inspect.isclass(owner) else owner
        found = inspect.signature(function).parameters.values()
        try:
            hints = typing.get_type_hints(function)
        except Exception:  # noqa: BLE001  annotations of other libraries may name missing types
            hints = {}

        for parameter in found:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                default = parameter.default
                if owner is not owners[0] and default is parameter.empty:
                    default = ...  # a subclass may pass it
                known.setdefault(parameter.name, (default, hints.get(parameter.name, Any)))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
            break
        accepts_others |= owner is not object and not owner.__module__.startswith('aimclr_mm.')
    return known, accepts_others


def _choices(hint: Any) -> list[Any]:
    """Return the types of a union, or the type itself, without parameters."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    choices = typing.get_args(hint) if is_union else (hint,)
    return [typing.get_origin(choice) or choice for choice in choices]


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value of a config fits a type."""
    choices = _choices(hint)
    if not set(choices) <= WORDS.keys():
        return True
    if isinstance(value, bool):
        return bool in choices
    if isinstance(value, int) and float in choices:
        return True
    if isinstance(value, (list, tuple)):
        return any(choice in choices for choice in (list, tuple, Sequence))
    return any(choice is not Sequence and isinstance(value, choice) for choice in choices)


def _in_words(hint: Any) -> str:
    return ' or '.join(WORDS.get(choice, str(choice)) for choice in _choices(hint))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
