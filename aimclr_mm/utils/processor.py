"""Name and flags of the CPU."""

from __future__ import annotations

import platform
from typing import NamedTuple

CPUINFO = '/proc/cpuinfo'


class Processor(NamedTuple):
    """A CPU.

    Attributes:
        name: model name.
        flags: instruction sets and other features; empty if unknown.
    """

    name: str
    flags: frozenset[str]


def processor() -> Processor:
    """Return the CPU as Linux describes it; on other systems, as Python does."""
    try:
        with open(CPUINFO, encoding='utf-8') as file:
            first = file.read().split('\n\n')[0]
    except OSError:
        first = ''

    fields = {}
    for line in first.splitlines():
        key, _, value = line.partition(':')
        fields[key.strip()] = value.strip()

    return Processor(
        name=fields.get('model name') or platform.processor() or platform.machine(),
        flags=frozenset(fields.get('flags', '').split()),
    )
