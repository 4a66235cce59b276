"""Config overlays: methods, ablations, protocols and schedules on top of any pre-training config.

An overlay is a config in mmengine's text format. Its ``_base_`` is replaced by the config under it,
so that ``_base_.model`` and the like refer to that config.
"""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Sequence

from mmengine.config import Config

from .project import find_config


def read_config(path: str, overlays: Sequence[str] = ()) -> Config:
    """Read a config and apply overlays, one after the other.

    The ``filename`` of the result is that of the config plus the names of the overlays, so that
    each composition has its own work directory.

    Args:
        path: config file; ``configs/...`` is found in the package too.
        overlays: overlay files in the order of application, found likewise.

    Raises:
        FileNotFoundError: if one of them does not exist.
        ValueError: if one of them is not valid Python, or an overlay refers to a setting that the
            config lacks.
    """
    path, *overlays = map(find_config, (path, *overlays))
    for file in (path, *overlays):
        if os.path.isdir(file):
            raise FileNotFoundError(f'config {file!r} is a folder; give a file')
        if not os.path.isfile(file):
            raise FileNotFoundError(f'config {file!r} does not exist')
    if os.path.splitext(path)[1] not in ('.py', '.json', '.yaml', '.yml'):
        raise ValueError(f'config {path!r} is not a .py, .json or .yaml file')

    cfg = _parse(path, path)
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.abspath(path)
        for overlay in overlays:
            composed = os.path.join(folder, f'{_stem(base)}_{_stem(overlay)}.py')
            with open(composed, 'w', encoding='utf-8') as file:
                file.write(_rebase(overlay, base))
            cfg = _parse(composed, overlay)
            base = composed
    return cfg


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _parse(path: str, shown: str) -> Config:
    """Read a config; errors name the file ``shown``."""
    try:
        return Config.fromfile(path)
    except SyntaxError as error:
        raise ValueError(f'config {shown!r} is not valid Python: {error}') from error
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'config {shown!r} needs {error.filename or error}, which does not exist'
        ) from error
    except (Exception, SystemExit) as error:  # noqa: BLE001  a config may raise anything
        hint = ''
        if path != shown:
            hint = '; an overlay may refer to a setting that the config under it lacks'
        raise ValueError(
            f'config {shown!r} cannot be read ({type(error).__name__}: {error}){hint}'
        ) from error


def _rebase(path: str, base: str) -> str:
    """Return the text of an overlay with ``base`` as ``_base_`` and unchanged line numbers."""
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        statements = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'config {path!r} is not valid Python: {error}') from error

    lines = text.encode().split(b'\n')  # ast counts columns in bytes
    for statement in statements:
        if not isinstance(statement, ast.Assign):
            continue
        if any(getattr(target, 'id', None) == '_base_' for target in statement.targets):
            first, last = statement.lineno - 1, statement.end_lineno - 1
            head = lines[first][: statement.col_offset]
            tail = lines[last][statement.end_col_offset :]
            lines[first : last + 1] = [head + b'pass' + tail, *[b''] * (last - first)]
    return b'\n'.join(lines).decode() + f'\n_base_ = {base!r}\n'
