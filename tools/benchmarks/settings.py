"""What is measured: sizes, device, configs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.utils.overlays import read_config

CONFIG = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    'configs',
    'aimclr_ntu60_xsub_joint.py',
)


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; the parts ignore those that do not concern them.

    Args:
        folder: for temporary files.
        config: config of the pre-training that is measured.
        options: its settings to override.
        variants: each the settings of another version of ours, with which ours is compared.
        official: checkout of the released code to compare with.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32`` and ``bfloat16``, each a version of ours.
        batch, frames, people: N, T and M.
        share: of the sequences that have more than one person; the others are zero there.
        queue: K; None leaves that of the config.
        mining: second stage of the training, with mining.
        samples: sequences of the data set.
        workers: of a data loader; None leaves that of the config.
        ranks: processes.
        epochs: of linear evaluation that are measured of its 100.
        rounds: how often each version is timed.
        warmup: runs before that.
        profile: also say where the time goes.
    """

    folder: str
    config: str = CONFIG
    options: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ()
    official: str | None = None
    device: str = 'cpu'
    dtype: tuple[str, ...] = ('float32',)
    batch: int = 128
    frames: int = 50
    people: int = 2
    share: float = 0.2
    queue: int | None = None
    mining: bool = False
    samples: int = 512
    workers: int | None = None
    ranks: int = 1
    epochs: int = 1
    rounds: int = 3
    warmup: int = 1
    profile: bool = False

    def __post_init__(self) -> None:
        for name in ('batch', 'frames', 'people', 'samples', 'ranks', 'epochs', 'rounds', 'warmup'):
            if getattr(self, name) < 1:
                raise ValueError(f'--{name} is {getattr(self, name)}; it must be at least 1')
        if not 0 <= self.share <= 1:
            raise ValueError(f'--share is {self.share}; it must lie between 0 and 1')
        if self.workers is not None and self.workers < 0:
            raise ValueError(f'--workers is {self.workers}; it must not be negative')


def versions_of_ours(settings: Settings) -> dict[str, tuple[str, Mapping[str, Any], bool]]:
    """Name -> (dtype, settings of the config, whether it is a peer) of all versions of ours to measure."""
    ours = {f'ours {dtype}': (dtype, {}, False) for dtype in settings.dtype}
    return ours | {
        'ours with ' + ' '.join(f'{key}={value}' for key, value in variant.items()): (
            settings.dtype[0],
            variant,
            True,
        )
        for variant in settings.variants
    }


def layout_of(cfg: Config) -> Layout:
    """Joint layout of a config's data."""
    return get_layout(cfg.model.data_preprocessor.get('layout', 'ntu25'))


def project_config(
    settings: Settings,
    dtype: str = 'float32',
    variant: Mapping[str, Any] | None = None,
    ann_file: str | None = None,
) -> Config:
    """The config with the sizes of a measurement, quiet, without validation and checkpoints.

    Args:
        settings: of the measurement.
        dtype: of the forward passes.
        variant: settings to override.
        ann_file: annotation file that takes the place of the config's.
    """
    cfg = read_config(settings.config)
    cfg.merge_from_dict({**settings.options, **(variant or {})})
    cfg.optim_wrapper.type = 'BFloat16OptimWrapper' if dtype == 'bfloat16' else 'OptimWrapper'
    if settings.queue is not None:
        cfg.model.queue_length = settings.queue
    for hook in cfg.custom_hooks:
        if hook.type == 'StageSwitchHook':
            hook.epoch = 0 if settings.mining else cfg.train_cfg.max_epochs
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.batch_size = settings.batch
        if settings.workers is not None:
            loader.update(num_workers=settings.workers, persistent_workers=settings.workers > 0)
        if ann_file is not None:
            loader.dataset.update(
                ann_file=ann_file, cache_dir=os.path.join(settings.folder, 'cache')
            )
        for step in loader.dataset.preprocess:
            if step.type == 'FormatGCNInput':
                step.num_person = settings.people
    # one pass needs no workers that stay, and those of a data loader that is gone take seconds to end
    cfg.test_dataloader.persistent_workers = False
    cfg.update(
        work_dir=os.path.join(settings.folder, 'work'),
        log_level='WARNING',
        launcher='none',
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
    )
    cfg.default_hooks.checkpoint = None
    return cfg
