"""Settings of a measurement, the configs they give, and random skeletons in memory and as files."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from aimclr_mm.apis import cli
from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.skeletons import Layout, get_layout

CONFIG = str(Path(__file__).resolve().parents[2] / 'configs' / 'aimclr_ntu60_xsub_joint.py')
CLASSES = 60
FRAMES = 50
PEOPLE = 2
PAIRS = 0.2  # share of the sequences with a second person
TRANSPOSE = (0, 4, 2, 3, 1)  # (N, M, T, V, C) to the released (N, C, T, V, M), and back


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; a part uses those that concern it."""

    folder: str  # for temporary files
    config: str = CONFIG  # of the pre-training; overlays and options as in tools/train.py
    overlays: Sequence[str] = ()
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    variants: Sequence[Mapping[str, Any]] = ()  # settings of further versions of ours, as peers
    official: str | None = None  # checkout of the released code
    device: str = 'cpu'
    dtype: Sequence[str] = ('float32',)  # a version of ours for each
    batch: int = 128
    queue: int | None = None  # K; None: the config's
    mining: bool = False  # second stage of the training
    samples: int = 512  # sequences of the data set
    workers: int | None = None  # of a data loader; None: the config's
    rounds: int = 3  # measurements of each version
    profile: bool = False


def our_configs(settings: Settings, ann_file: str | None = None) -> dict[str, tuple[Config, bool]]:
    """Return name -> (config, whether it is a peer): one for each dtype and each variant."""
    configs = {}
    for dtype in settings.dtype:
        configs[f'ours {dtype}'] = build_config(settings, dtype, {}, ann_file), False

    for variant in settings.variants:
        name = ' '.join(f'{key}={value}' for key, value in variant.items())
        cfg = build_config(settings, settings.dtype[0], variant, ann_file)
        configs[f'ours with {name}'] = cfg, True
    return configs


def build_config(
    settings: Settings,
    dtype: str = 'float32',
    variant: Mapping[str, Any] | None = None,
    ann_file: str | None = None,
) -> Config:
    """Return the checked config of a version of ours, with the sizes of the measurement."""
    options = {**settings.cfg_options, **(variant or {})}
    cfg = cli.compose_config(argparse.Namespace(**{**vars(settings), 'cfg_options': options}))

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
            cache = os.path.join(settings.folder, 'cache')
            loader.dataset.update(ann_file=ann_file, cache_dir=cache)
    cfg.test_dataloader.persistent_workers = False  # a single pass; ending them takes seconds

    cfg.update(dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')))
    cfg.update(work_dir=os.path.join(settings.folder, 'work'), log_level='WARNING', launcher='none')
    cfg.default_hooks.checkpoint = None
    return cfg


def layout_of(settings: Settings) -> Layout:
    """Return the joint layout of the config's data."""
    return get_layout(build_config(settings).model.data_preprocessor.get('layout', 'ntu25'))


def skeletons(settings: Settings, samples: int) -> np.ndarray:
    """Return random skeletons (N, M, T, V, C), float32, in metres; an absent person is zero."""
    layout = layout_of(settings)
    rng = np.random.default_rng(0)
    shape = (samples, PEOPLE, FRAMES, layout.num_joints, layout.dims)
    x = 0.3 * rng.standard_normal(shape, np.float32)
    single = rng.permutation(samples)[round(PAIRS * samples) :]
    x[single, 1:] = 0
    return x


def write_annotations(settings: Settings, x: np.ndarray, queries: int = 0) -> str:
    """Write an annotation file of preprocessed sequences (N, M, T, V, C); return its path.

    The splits are xsub_train, xsub_val (the last ``queries`` sequences) and all.
    """
    names = [f'{index:06}' for index in range(len(x))]
    annotations = [
        dict(frame_dir=name, label=label, total_frames=x.shape[2], keypoint=keypoint)
        for name, label, keypoint in zip(names, cycle(range(CLASSES)), x)
    ]
    train = len(x) - queries
    split = dict(xsub_train=names[:train], xsub_val=names[train:], all=names)
    metainfo = dict(layout=layout_of(settings).name, preprocessed=True)
    path = os.path.join(settings.folder, 'annotations.pkl')
    write_pickle(dict(metainfo=metainfo, split=split, annotations=annotations), path)
    return path


def write_released(folder: str, x: np.ndarray) -> tuple[str, str]:
    """Write skeletons (N, M, T, V, C) as array and label file of the released feeders."""
    position = os.path.join(folder, 'position.npy')
    label = os.path.join(folder, 'label.pkl')
    names = [f'{index:06}' for index in range(len(x))]
    np.save(position, x.transpose(TRANSPOSE))
    Path(label).write_bytes(pickle.dumps((names, [0] * len(x))))
    return position, label
