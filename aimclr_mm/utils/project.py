"""Where configs and tools are: in the checkout, or in the installed package."""

from __future__ import annotations

import os

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INSTALLED = os.path.join(PACKAGE, '.mim')  # written by setup.py, searched by OpenMMLab's mim


def project_folder() -> str:
    """Return the folder that holds ``configs`` and ``tools``."""
    return INSTALLED if os.path.isdir(INSTALLED) else os.path.dirname(PACKAGE)


def find_config(path: str) -> str:
    """Return the path of a config file.

    Args:
        path: a file; ``configs/...`` is taken from the package if there is no such file.
    """
    if os.path.exists(path) or os.path.normpath(path).split(os.sep)[0] != 'configs':
        return path
    shipped = os.path.join(project_folder(), path)
    return shipped if os.path.isfile(shipped) else path
