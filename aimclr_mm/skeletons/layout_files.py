"""Joint layouts in YAML files.

A file holds the fields of a :class:`~aimclr_mm.skeletons.Layout`, or ``bones``, a mapping with one
entry ``joint: parent`` per joint, instead of ``joints`` and ``parents``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from aimclr_mm.utils.files import open_regular

MAX_FILE = 64 * 2**10  # bytes


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any, count: int | None = None) -> bool:
    return isinstance(value, list) and all(map(_is_name, value)) and count in (None, len(value))


def _are_bones(value: Any) -> bool:
    return isinstance(value, dict) and _are_names([*value, *value.values()])


def _are_edges(value: Any) -> bool:
    return isinstance(value, list) and all(_are_names(edge, 2) for edge in value)


# field -> description of a valid value, and its check
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


def read_fields(path: str) -> dict[str, Any]:
    """Read the fields of the layout in a YAML file.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it does not hold a layout; the message names the file and the field.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'layout file {path!r} does not exist; the current folder is {os.getcwd()!r}'
        )

    with open_regular(path) as file:
        content = file.read(MAX_FILE + 1)

    try:
        if len(content) > MAX_FILE:
            raise ValueError(f'has more than {MAX_FILE} bytes, too many for a layout')
        fields = _load_yaml(content)
        _check_types(fields)
        _expand_bones(fields)
        _check_complete(fields)
    except ValueError as error:
        raise ValueError(f'layout file {path!r}: {error}') from error
    return fields


def _check_types(fields: dict[str, Any]) -> None:
    """Raise ValueError for an unknown field or a value of the wrong type."""
    unknown = sorted(map(str, set(fields) - set(_FIELDS)))
    if unknown:
        raise ValueError(f'unknown field {unknown[0]!r}; known are {list(_FIELDS)}')

    for key, value in fields.items():
        expected, is_valid = _FIELDS[key]
        if not is_valid(value):
            raise ValueError(
                f'{key!r} is {str(value)[:300]!r}; it must be {expected} (quote names that are '
                'numbers or yes, no, on, off)'
            )


def _expand_bones(fields: dict[str, Any]) -> None:
    """Replace ``bones`` by ``joints`` and ``parents``, in place."""
    if 'bones' not in fields:
        return
    if 'joints' in fields or 'parents' in fields:
        raise ValueError("has both 'bones' and 'joints' or 'parents'; give one or the other")

    bones = fields.pop('bones')
    fields['joints'] = list(bones)
    fields['parents'] = list(bones.values())


def _check_complete(fields: dict[str, Any]) -> None:
    """Raise ValueError if a required field is missing."""
    missing = [key for key in ('joints', 'parents', 'center') if key not in fields]
    if missing:
        raise ValueError(f'has no {missing[0]!r}; it needs center, and joints and parents or bones')


def _load_yaml(content: bytes) -> dict[str, Any]:
    """Parse a YAML mapping; aliases and duplicate keys, which YAML accepts, are refused."""
    import yaml

    try:
        root = yaml.compose(content, yaml.SafeLoader)
        events = yaml.parse(content, yaml.SafeLoader)
        # a few lines of nested aliases can expand to more than the memory holds
        has_alias = any(isinstance(event, yaml.AliasEvent) for event in events)
        fields = None if has_alias else yaml.safe_load(content)
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds
        raise ValueError(f'is not readable YAML ({error})') from error

    if has_alias:
        raise ValueError('has an alias (*name); write out the value it refers to')
    if not isinstance(fields, dict):
        raise ValueError('has no fields; write lines such as "center: spine"')

    for node in (root, *(value for _, value in root.value)):
        keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        key, count = next(iter(Counter(keys).most_common(1)), ('', 0))
        if count > 1:
            raise ValueError(f'has {key!r} twice')
    return fields
