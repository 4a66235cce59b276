"""What the system says about the CPU."""

from __future__ import annotations

import platform
from typing import NamedTuple

CPUINFO = '/proc/cpuinfo'


class Processor(NamedTuple):
    """Name, vendor (``AuthenticAMD``, ``GenuineIntel``, ...) and flags; the latter two empty where nobody tells."""

    name: str
    vendor: str
    flags: frozenset[str]


def processor() -> Processor:
    """The CPU that this process runs on, as Linux describes it; elsewhere what Python knows."""
    try:
        with open(CPUINFO, encoding='utf-8') as file:
            first = file.read().split('\n\n')[0]
    except OSError:
        first = ''
    fields = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(':') for line in first.splitlines())
    }
    # platform.processor() starts a process on Linux; on Windows it gives family, model and vendor
    return Processor(
        fields.get('model name') or platform.processor() or platform.machine(),
        fields.get('vendor_id') or platform.processor().rpartition(', ')[2],
        frozenset(fields.get('flags', '').split()),
    )
