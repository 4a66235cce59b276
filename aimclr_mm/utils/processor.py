"""Name of the CPU."""

from __future__ import annotations

import platform

CPUINFO = '/proc/cpuinfo'


def processor_name() -> str:
    """Return the model name of the CPU from Linux; on other systems, what Python knows of it."""
    try:
        with open(CPUINFO, encoding='utf-8') as file:
            for line in file:
                key, _, value = line.partition(':')
                if key.strip() == 'model name' and value.strip():
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
