"""Checks of a config before anything is built from it: settings that nobody takes, wrong types, values out of range."""

from __future__ import annotations

import difflib
import inspect
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from mmaction import registry
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
# what mmengine's runner looks up in a config beside its own arguments
TOP = {
    *inspect.signature(Runner).parameters,
    'activation_checkpointing',
    'compile',
    'efficient_conv_bn_eval',
    'model_wrapper_cfg',
    'runner_type',
} - {'cfg', 'launcher'}
# what mmengine takes out of a setting before it builds, and what it gives to a constructor itself
TAKEN = {'type', '_scope_', 'priority', 'constructor', 'paramwise_cfg', 'convert_to_iter_based'}
GIVEN = {
    'dataloader',
    'dataset',
    'evaluator',
    'model',
    'module',
    'optimizer',
    'param_name',
    'params',
    'runner',
    'self',
}
PLAIN = {  # settings without a type: the names that are known in them
    'randomness': set(inspect.signature(Runner.set_randomness).parameters) - {'self'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    **dict.fromkeys(
        ('train_dataloader', 'val_dataloader', 'test_dataloader'),
        {
            *inspect.signature(DataLoader).parameters,
            'num_batch_per_epoch',
            'disable_subprocess_warning',
        },
    ),
}
LEAST = dict(
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
MAX_SEED = 2**32 - 1
BACKENDS = dict(
    TensorboardVisBackend='tensorboard', MLflowVisBackend='mlflow', WandbVisBackend='wandb'
)
LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
SCALARS = dict(
    load_from=str | None,
    resume=bool,
    log_level=str,
    work_dir=str,
    train_cfg=dict,
    optim_wrapper=dict,
    val_evaluator=dict | list | None,
    test_evaluator=dict | list | None,
    val_cfg=dict | None,
)


def check_options(cfg: Mapping, options: Iterable[str]) -> None:
    """Raises ValueError for a key of ``--cfg-options`` that would change nothing.

    Args:
        cfg: the config that the options are laid over.
        options: keys, such as ``model.temperature``.
    """
    for option in options:
        first, _, rest = option.partition('.')
        if first in TOP:
            continue
        if first not in cfg:
            raise ValueError(
                f'--cfg-options {option}: a config has no setting {first!r}{_nearest(first, TOP)}'
            )
        last = option.rpartition('.')[2]
        used = [
            path
            for path in _paths(cfg)
            if rest and path.endswith(f'.{last}') and path.split('.')[0] in TOP
        ]
        raise ValueError(
            f'--cfg-options {option}: {first!r} is a variable of the config file, which has been used by '
            'now; '
            + (f'set {" or ".join(used[:4])}' if used else 'change it in a config of your own')
        )


def check_config(cfg: Mapping, name: str) -> None:
    """Raises ValueError for a setting that cannot be right, with its place in the config.

    What has a ``type`` is compared with the constructor of that type: unknown and missing settings, and values that
    are not what its annotation says. No class is asked for more than its constructor.

    Args:
        cfg: config of a training.
        name: of its file, for the message.
    """
    for key in cfg:
        near = difflib.get_close_matches(key, TOP, 1, 0.85)
        if key not in TOP and near:
            raise ValueError(
                f'config {name!r}: there is no setting {key!r}; did you mean {near[0]!r}? A variable of '
                'your own needs a name that is less like it'
            )
    for key in ('model', 'train_dataloader'):
        if not isinstance(cfg.get(key), Mapping):
            raise ValueError(
                f'config {name!r} has no {key}, or it is no dict; a config of this project begins with '
                "_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', ...]"
            )
    if cfg.get('default_scope') != 'mmaction':
        raise ValueError(
            f"config {name!r}: default_scope is {cfg.get('default_scope')!r}; it must be 'mmaction', in "
            'which the classes of this package are. Register your own by mmaction.registry or '
            "mmengine.registry, or name one of another library as type='library.Class'"
        )
    for path, key, value in _walk(cfg):
        _check_number(path, key, value)
        if isinstance(value, Mapping):
            if 'type' in value:
                _check_typed(path, value)
            elif path in PLAIN:
                _check_names(path, value, PLAIN[path])
    _check_runtime(cfg)


def _walk(value: Any, path: str = '') -> Iterator[tuple[str, str, Any]]:
    """(path, last key, value) of all that the runner takes from a config, at any depth."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if not path and key not in TOP:
            continue
        inside = f'{path}.{key}' if path else str(key)
        yield inside, str(key), item
        if isinstance(item, (Mapping, list, tuple)):
            yield from _walk(item, inside)


def _paths(cfg: Mapping) -> list[str]:
    return [path for path, _, _ in _walk(cfg)]


def _nearest(name: str, known: Iterable[str]) -> str:
    """What may have been meant."""
    near = difflib.get_close_matches(name, known, 1)
    return f'; did you mean {near[0]!r}?' if near else ''


def _check_number(path: str, key: str, value: Any) -> None:
    """NaN is nowhere right, and counts have a least value."""
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f'{path} is nan; it must be a number')
    if key in LEAST and (not _fits(value, int) or value < LEAST[key]) and value is not None:
        raise ValueError(f'{path}={value!r}; it must be a whole number of at least {LEAST[key]}')


def _check_names(path: str, value: Mapping, known: set[str]) -> None:
    for name in value:
        if name not in known:
            raise ValueError(f'{path}.{name}: {path} has no such setting{_nearest(name, known)}')


def _check_typed(path: str, value: Mapping) -> None:
    """What has a type, against the constructor of that type."""
    kind = value['type']
    found = _find(kind) if isinstance(kind, str) else {kind}
    if not found:
        names = {name for box in REGISTRIES for name in box.module_dict}
        raise ValueError(
            f'{path}.type={kind!r}: there is no such type{_nearest(kind, names)} (a type of your own is '
            'registered by custom_imports)'
        )
    if len(found) > 1:  # one of them is meant, and where it stands would tell which
        return
    (constructor,) = found
    known, others = parameters(constructor)
    name = getattr(constructor, '__name__', str(kind))
    for key, item in value.items():
        if key in TAKEN:
            continue
        if key not in known:
            if not others or difflib.get_close_matches(key, known, 1, 0.8):
                raise ValueError(
                    f'{path}.{key}={_short(item)}: {name} has no such setting{_nearest(key, known)}'
                )
        elif not _fits(item, known[key][1]) and not (item is None and known[key][0] is None):
            raise ValueError(f'{path}.{key}={_short(item)}; {name} takes {_say(known[key][1])}')
    missing = [
        key
        for key, (default, _) in known.items()
        if default is inspect.Parameter.empty
        and key not in {*value, *GIVEN}
        and inspect.isclass(constructor)
    ]
    if missing:
        raise ValueError(f'{path}.{missing[0]} is missing; {name} needs it')


def _find(name: str) -> set[Any]:
    """What is registered under a name, whatever it is for."""
    found = set()
    for box in REGISTRIES:
        with suppress(ImportError):  # some of mmaction2's registries name modules that do not exist
            box.import_from_location()
            if '.' in name:  # with the scope, or the module
                found.add(box.get(name))
        while box is not None:  # get() would try to import a module of that name
            found.add(box.module_dict.get(name))
            box = box.parent
    return found - {None}


def parameters(kind: Any) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """What a constructor takes: name -> (default, annotation), those that it may pass on to its bases included.

    Returns:
        These, and whether it may take other names too: a class of another library need not pass its keyword arguments
        on to its bases.
    """
    known: dict[str, tuple[Any, Any]] = {}
    others = False
    owners = (
        [base for base in kind.__mro__ if '__init__' in vars(base)]
        if inspect.isclass(kind)
        else [kind]
    )
    for owner in owners:
        function = owner.__init__ if inspect.isclass(owner) else owner
        found = inspect.signature(function).parameters.values()
        try:
            hints = typing.get_type_hints(function)
        except Exception:  # noqa: BLE001  annotations of other libraries may name what is not there
            hints = {}
        for parameter in found:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                default = parameter.default
                if owner is not owners[0] and default is parameter.empty:
                    default = ...  # a subclass may give it
                known.setdefault(parameter.name, (default, hints.get(parameter.name, Any)))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
            break
        others |= owner is not object and not owner.__module__.startswith('aimclr_mm.')
    return known, others


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as far as a config can tell."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, choice) for choice in typing.get_args(hint))
    hint = origin or hint
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(
            value, bool
        )
    if hint in (bool, str, types.NoneType):
        return isinstance(value, hint)
    if hint in (list, tuple, Sequence):
        return isinstance(value, (list, tuple))
    if hint is Tensor:
        return False
    return isinstance(value, Mapping) if hint in (dict, Mapping) else True


def _say(hint: Any) -> str:
    """A type in words."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return ' or '.join(map(_say, typing.get_args(hint)))
    words = {
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
    return words.get(typing.get_origin(hint) or hint, str(hint))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _check_runtime(cfg: Mapping) -> None:
    """Settings that go together, and those of the runner itself."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name) or {}
        if (
            not isinstance(loader, Mapping)
            or loader
            and not isinstance(loader.get('dataset'), Mapping)
        ):
            raise ValueError(f'{name} must be a dict with a dict dataset in it')
        if loader.get('persistent_workers') and not loader.get('num_workers'):
            raise ValueError(
                f'{name}: persistent_workers=True needs num_workers of at least 1; set '
                f'{name}.persistent_workers=False too'
            )
        if loader and loader.get('batch_size', 1) is None:
            raise ValueError(f'{name}.batch_size is None; it must be a whole number of at least 1')
    validation = [
        name for name in ('val_dataloader', 'val_cfg', 'val_evaluator') if cfg.get(name) is None
    ]
    if validation and len(validation) < 3:
        raise ValueError(
            f'{validation[0]} is None or missing, but validation is not; --no-validate leaves it out'
        )
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks, (list, tuple)):
        raise ValueError(f'custom_hooks={_short(hooks)}; it must be a list')
    for path, hook in [*(cfg.get('default_hooks') or {}).items(), *enumerate(hooks)]:
        if hook is not None and not (isinstance(hook, Mapping) and 'type' in hook):
            raise ValueError(f'hook {path!r} is {_short(hook)}; a hook is a dict with a type')
    environment = cfg.get('env_cfg') or {}
    timeout = (environment.get('dist_cfg') or {}).get('timeout', 1)
    if not _fits(timeout, float) or not 0 < timeout < math.inf:
        raise ValueError(
            f'env_cfg.dist_cfg.timeout={timeout!r}; it must be a positive number of seconds'
        )
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and not (_fits(seed, int) and 0 <= seed <= MAX_SEED):
        raise ValueError(f'randomness.seed={seed!r}; it must be a whole number of 0 to {MAX_SEED}')
    for name, hint in SCALARS.items():
        if name in cfg and not _fits(cfg[name], hint):
            raise ValueError(f'{name}={_short(cfg[name])}; it must be {_say(hint)}')
    for backend in (cfg.get('visualizer') or {}).get('vis_backends') or []:
        package = BACKENDS.get(backend.get('type'))
        if package and find_spec(package) is None:
            raise ValueError(
                f'visualizer.vis_backends: {backend["type"]} needs the package {package}; install it with '
                f'pip install {package}'
            )
    level = cfg.get('log_level', 'INFO')
    if level not in LEVELS:
        raise ValueError(f'log_level={level!r}; it must be one of {", ".join(LEVELS)}')
    if not isinstance((cfg.get('auto_scale_lr') or {}).get('enable', False), bool):
        raise ValueError(
            f'auto_scale_lr.enable={cfg["auto_scale_lr"]["enable"]!r}; it must be True or False'
        )
