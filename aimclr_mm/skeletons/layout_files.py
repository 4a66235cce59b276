"""Joint layouts in YAML files: the fields of a layout, or ``bones``, a line ``joint: parent`` for each joint."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def _is_name(value: object) -> bool:
    return isinstance(value, str)


def _are_names(value: object, count: int | None = None) -> bool:
    return isinstance(value, list) and all(map(_is_name, value)) and count in (None, len(value))


def _are_bones(value: object) -> bool:
    return isinstance(value, dict) and _are_names([*value, *value.values()])


def _are_edges(value: object) -> bool:
    return isinstance(value, list) and all(_are_names(edge, 2) for edge in value)


_MAX_FILE = 64 * 2**10  # bytes
# field of a layout file -> what must stand there, and a test of it
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = dict(
    bones=('joint: parent for each joint', _are_bones),
    joints=('a list of names', _are_names),
    parents=('a list of names', _are_names),
    center=('a name', _is_name),
    dims=('2 or 3', lambda value: type(value) is int and value in (2, 3)),
    shoulders=('a list of two names', lambda value: _are_names(value, 2)),
    extra_edges=('a list of pairs of names', _are_edges),
    name=('a name', _is_name),
)


def read_fields(path: str, shoulders: tuple[str, str]) -> dict:
    """The fields of the layout in a YAML file.

    Args:
        path: the file.
        shoulders: joints that are the shoulders if the file does not name them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no layout; the message names the file and the field.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'layout file {path!r} does not exist; the current folder is {os.getcwd()!r}'
        )
    with open(path, 'rb') as file:
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise ValueError(
            f'layout file {path!r} has more than {_MAX_FILE} bytes, too many for a layout'
        )
    try:
        fields = _yaml_fields(content)
        if unknown := sorted(map(str, set(fields) - set(_FIELDS))):
            raise ValueError(f'unknown field {unknown[0]!r}; known are {list(_FIELDS)}')
        for key, value in fields.items():
            kind, fits = _FIELDS[key]
            if not fits(value):
                raise ValueError(
                    f'{key!r} is {str(value)[:300]!r}; it must be {kind} (quote names that are numbers '
                    'or yes, no, on, off)'
                )
        if 'bones' in fields:
            if 'joints' in fields or 'parents' in fields:
                raise ValueError("has 'bones' beside 'joints' or 'parents'; give one or the other")
            bones = fields.pop('bones')
            fields.update(joints=list(bones), parents=list(bones.values()))
        if missing := [key for key in ('joints', 'parents', 'center') if key not in fields]:
            raise ValueError(
                f'has no {missing[0]!r}; it needs center, and joints and parents or bones'
            )
        if 'shoulders' not in fields and not set(shoulders) <= set(fields['joints']):
            raise ValueError(
                f"has no 'shoulders', and no joints {list(shoulders)} that could stand for them; "
                f'name a left and a right joint of {fields["joints"]}'
            )
        return fields
    except ValueError as error:
        raise ValueError(f'layout file {path!r}: {error}') from error


def _yaml_fields(content: bytes) -> dict:
    """The mapping in YAML text, without a key given twice, which YAML would let pass."""
    import yaml

    try:
        root = yaml.compose(content, yaml.SafeLoader)
        # a few lines of aliases can stand for more than a memory holds
        aliases = any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.SafeLoader)
        )
        fields = None if aliases else yaml.safe_load(content)
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(f'is no readable YAML ({error})') from error
    if aliases:
        raise ValueError('has an alias (*name); write out what it stands for')
    if not isinstance(fields, dict):
        raise ValueError('has no fields; write lines such as "center: spine"')
    for node in (root, *(value for _, value in root.value)):
        keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        if double := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f'has {double[0]!r} twice')
    return fields
