"""Checks of constructor arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise ValueError naming the argument, its value and the choices if it is not one of them."""
    if value not in choices:
        known = ', '.join(map(repr, choices))
        raise ValueError(f'{name}={value!r}; choose from {known}')
