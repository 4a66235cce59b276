"""Overlays: config files of a method, an ablation, a protocol or a schedule, composed with any pre-training config.

An overlay is a config in mmengine's text format. Its own ``_base_``, if it has one, is replaced by the config that it
is laid over, so that ``_base_.model`` and the like mean that config's.
"""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Sequence

from mmengine.config import Config


def read_config(path: str, overlays: Sequence[str] = ()) -> Config:
    """Reads a config and lays overlays over it, one after the other.

    The result's ``filename`` is that of the config with the names of the overlays added, so that each composition gets
    a work directory of its own.

    Args:
        path: config file.
        overlays: files in the order in which they are applied.

    Raises:
        FileNotFoundError: if one of them does not exist.
        ValueError: if one of them is not valid Python, or an overlay refers to what the config lacks.
    """
    for file in (path, *overlays):
        if not os.path.isfile(file):
            raise FileNotFoundError(
                f'config {file!r} '
                + ('is a folder; give a file' if os.path.isdir(file) else 'does not exist')
            )
    if os.path.splitext(path)[1] not in ('.py', '.json', '.yaml', '.yml'):
        raise ValueError(f'config {path!r} is no .py, .json or .yaml file')
    cfg = _parse(path, path)
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.abspath(path)
        for overlay in overlays:
            name = f'{_stem(base)}_{_stem(overlay)}'
            composed = os.path.join(folder, f'{name}.py')
            with open(composed, 'w', encoding='utf-8') as file:
                file.write(_rebase(overlay, base))
            cfg, base = _parse(composed, overlay), composed
    return cfg


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _parse(path: str, shown: str) -> Config:
    try:
        return Config.fromfile(path)
    except SyntaxError as error:
        raise ValueError(f'config {shown!r} is not valid Python: {error}') from error
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'config {shown!r} needs {error.filename or error}, which does not exist'
        ) from error
    except (Exception, SystemExit) as error:  # noqa: BLE001  a config is a program and may raise anything
        hint = (
            '; an overlay may refer to a setting that the config below it lacks'
            if path != shown
            else ''
        )
        raise ValueError(
            f'config {shown!r} cannot be read ({type(error).__name__}: {error}){hint}'
        ) from error


def _rebase(path: str, base: str) -> str:
    """The text of an overlay with ``base`` as its ``_base_``; every other line keeps its number."""
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        statements = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'config {path!r} is not valid Python: {error}') from error
    lines = text.encode().split(b'\n')  # ast counts columns in bytes
    for statement in statements:
        if isinstance(statement, ast.Assign) and any(
            getattr(t, 'id', None) == '_base_' for t in statement.targets
        ):
            first, last = statement.lineno - 1, statement.end_lineno - 1
            rest = lines[last][statement.end_col_offset :]
            lines[first : last + 1] = [
                lines[first][: statement.col_offset] + b'pass' + rest,
                *[b''] * (last - first),
            ]
    return b'\n'.join(lines).decode() + f'\n_base_ = {base!r}\n'
