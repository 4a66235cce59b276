"""What the configs say of the trainings of a plan, and whether their data are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from aimclr_mm.datasets.annotations import require_file
from aimclr_mm.engine import scale_schedule
from aimclr_mm.evaluation.evaluate import CLASSIFIER
from aimclr_mm.utils.overlays import read_config

from .graph import Training, config_file

# settings that change speed, place or log of a run and not its result
WITHOUT_EFFECT = {
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
    'hint',
    'cache_dir',
    'log_level',
    'log_processor',
    'logger',
    'visualizer',
    'env_cfg',
}


def known_sites() -> list[str]:
    """Data sets and splits that have a config of the joint stream, such as ``ntu60_xsub``."""
    names = (path.stem.split('_')[1:-1] for path in Path('configs').glob('aimclr_*_joint.py'))
    return sorted('_'.join(parts) for parts in names if len(parts) == 2)


@cache
def read(site: str, overlays: tuple[str, ...]) -> Config:
    """A composed config, read once; not to be changed."""
    return read_config(config_file(site), overlays)


def digest(settings: Any) -> str:
    """Hash of the settings of a config that change a result."""

    def effective(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: effective(item) for key, item in value.items() if key not in WITHOUT_EFFECT
            }
        return [effective(item) for item in value] if isinstance(value, (list, tuple)) else value

    text = json.dumps(effective(settings), sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resolve(site: str, overlays: tuple[str, ...], scale: float = 1.0) -> Training:
    """Reads what a training takes.

    Args:
        site: data set and split, such as ``ntu60_xsub``.
        overlays: laid over its config.
        scale: factor of the epochs of a pre-training; at least one epoch is left. Classifiers keep theirs.

    Raises:
        FileNotFoundError: if config or overlay are missing.
        ValueError: if they cannot be read.
    """
    cfg = deepcopy(read(site, overlays))
    full, marks = cfg.train_cfg.max_epochs, digest(cfg.to_dict())
    epochs = full if cfg.model.type == CLASSIFIER else max(1, round(scale * full))
    if epochs != full:
        scale_schedule(cfg, epochs)
    return Training(site, overlays, full, epochs, cfg.default_hooks.checkpoint.interval, marks)


def check_data(sites: Iterable[str]) -> None:
    """Raises FileNotFoundError, with the config's hint how to make it, for an annotation file that is missing."""
    for site in sites:
        dataset = read(site, ()).train_dataloader.dataset
        require_file(dataset.ann_file, dataset.get('hint', ''))
