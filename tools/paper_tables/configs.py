"""Facts of training configs."""

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

from .jobs import Training
from .published import config_file

# settings that change speed, place or log of a run, not its result
WITHOUT_EFFECT = set(
    'num_workers persistent_workers pin_memory prefetch_factor hint cache_dir batched '
    'keep_on_gpu '
    'log_level log_processor logger visualizer env_cfg'.split()
)


def known_sites() -> list[str]:
    """Return data sets and splits that have a config, such as ``ntu60_xsub``."""
    names = [path.stem.split('_')[1:-1] for path in Path('configs').glob('aimclr_*_joint.py')]
    return sorted('_'.join(parts) for parts in names if len(parts) == 2)


@cache
def read(site: str, overlays: tuple[str, ...]) -> Config:
    """Return a composed config, read once; callers must not change it."""
    return read_config(config_file(site), overlays)


def digest(settings: Any) -> str:
    """Return a hash of the settings that change a result."""

    def effective(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: effective(item) for k, item in value.items() if k not in WITHOUT_EFFECT}
        return [effective(item) for item in value] if isinstance(value, (list, tuple)) else value

    text = json.dumps(effective(settings), sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resolve(
    site: str, overlays: tuple[str, ...], scale: float = 1.0, equal: bool = False
) -> Training:
    """Return the facts of a training.

    Args:
        site: data set and split, such as ``ntu60_xsub``.
        overlays: overlays of its config.
        scale: factor of the epochs of a pre-training, of which at least one is left. Classifiers
            keep their epochs.
        equal: whether a pre-training has the epochs of the config without overlays.

    Raises:
        FileNotFoundError: if a config is missing.
        ValueError: if a config cannot be read.
    """
    cfg = deepcopy(read(site, overlays))
    settings = digest(cfg.to_dict())
    full = epochs = cfg.train_cfg.max_epochs
    if cfg.model.type != CLASSIFIER:
        budget = read(site, ()).train_cfg.max_epochs if equal else full
        epochs = max(1, round(scale * budget))
    if epochs != full:
        scale_schedule(cfg, epochs)
    return Training(site, overlays, full, epochs, cfg.default_hooks.checkpoint.interval, settings)


def check_data(sites: Iterable[str]) -> None:
    """Raise FileNotFoundError for a missing annotation file, with the config's hint to make it."""
    for site in sites:
        dataset = read(site, ()).train_dataloader.dataset
        require_file(dataset.ann_file, dataset.get('hint', ''))
