"""Sizes and configs of a measurement, and random skeletons in memory and as files."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.utils.overlays import read_config

CONFIG = str(Path(__file__).resolve().parents[2] / 'configs' / 'aimclr_ntu60_xsub_joint.py')
CLASSES = 60
QUERIES = 16487 / 40091  # test sequences per training sequence in NTU-60, cross-subject
AXES = (0, 4, 2, 3, 1)  # (N, M, T, V, C) -> (N, C, T, V, M), and back


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; a part uses those that concern it.

    Args:
        folder: for temporary files.
        config: config of the pre-training that is measured.
        options: its settings to override.
        variants: settings of other versions of ours, with which ours is compared.
        official: checkout of the released code.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32`` and ``bfloat16``, a version of ours each.
        batch, frames, people: N, T and M.
        share: share of sequences with more than one person; the others are zero there.
        queue: K; None for that of the config.
        mining: whether the training is in its second stage.
        samples: sequences of the data set.
        workers: workers of a data loader; None for those of the config.
        ranks: processes.
        epochs: measured epochs of 100 of the linear evaluation.
        rounds: measurements of each version.
        warmup: runs before them.
        profile: whether to profile a step.
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


def versions_of_ours(settings: Settings) -> dict[str, tuple[str, Mapping[str, Any], bool]]:
    """Return name -> (dtype, settings of the config, whether it is a peer)."""
    versions = {f'ours {dtype}': (dtype, {}, False) for dtype in settings.dtype}
    for variant in settings.variants:
        name = ' '.join(f'{key}={value}' for key, value in variant.items())
        versions[f'ours with {name}'] = (settings.dtype[0], variant, True)
    return versions


def project_config(
    settings: Settings,
    dtype: str = 'float32',
    variant: Mapping[str, Any] | None = None,
    ann_file: str | None = None,
) -> Config:
    """Return the config of the project with the sizes of a measurement.

    Args:
        settings: of the measurement.
        dtype: of the forward passes.
        variant: settings to override.
        ann_file: annotation file instead of the config's.
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
        _set_loader(loader, settings, ann_file)

    # one pass needs no persistent workers, and those of a loader that is gone take seconds to end
    cfg.test_dataloader.persistent_workers = False
    cfg.update(dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')))
    work_dir = os.path.join(settings.folder, 'work')
    cfg.update(work_dir=work_dir, log_level='WARNING', launcher='none')
    cfg.default_hooks.checkpoint = None
    return cfg


def _set_loader(loader: Any, settings: Settings, ann_file: str | None) -> None:
    loader.batch_size = settings.batch
    if settings.workers is not None:
        loader.update(num_workers=settings.workers, persistent_workers=settings.workers > 0)
    if ann_file is not None:
        cache = os.path.join(settings.folder, 'cache')
        loader.dataset.update(ann_file=ann_file, cache_dir=cache)
    for step in loader.dataset.preprocess:
        if step.type == 'FormatGCNInput':
            step.num_person = settings.people


def layout_of(cfg: Config) -> Layout:
    """Return the joint layout of a config's data."""
    return get_layout(cfg.model.data_preprocessor.get('layout', 'ntu25'))


def skeletons(settings: Settings, samples: int, layout: Layout, seed: int = 0) -> np.ndarray:
    """Return random skeletons (N, M, T, V, C), float32; ``settings.share`` of them of M people.

    The others have one, and zeros for the rest, as preprocessed data have.
    """
    rng = np.random.default_rng(seed)
    shape = (samples, settings.people, settings.frames, layout.num_joints, layout.dims)
    x = 0.3 * rng.standard_normal(shape, np.float32)  # metres
    x[rng.permutation(samples)[round(settings.share * samples) :], 1:] = 0
    return x


def labels(samples: int) -> np.ndarray:
    """Return labels that repeat, (N,)."""
    return np.arange(samples) % CLASSES


def write_annotations(path: str, layout: Layout, train: np.ndarray, test: np.ndarray) -> None:
    """Write an annotation file of preprocessed sequences: splits xsub_train, xsub_val and all.

    Args:
        path: the file.
        layout: of the joints.
        train, test: (N, M, T, V, C); the second may be empty.
    """
    annotations, split = [], {}
    for name, x in (('xsub_train', train), ('xsub_val', test)):
        split[name] = [f'{name}{index:06}' for index in range(len(x))]
        annotations += [
            dict(frame_dir=sequence, label=int(label), total_frames=x.shape[2], keypoint=keypoint)
            for sequence, label, keypoint in zip(split[name], labels(len(x)), x)
        ]
    split['all'] = [sequence for names in list(split.values()) for sequence in names]
    metainfo = dict(layout=layout.name, preprocessed=True)
    write_pickle(dict(metainfo=metainfo, split=split, annotations=annotations), path)


def write_released(folder: str, name: str, x: np.ndarray) -> tuple[str, str]:
    """Write skeletons (N, M, T, V, C) as files of the released feeders; return their paths.

    The first holds the (N, C, T, V, M) array, the second names and labels.
    """
    position, label = (str(Path(folder) / f'{name}_{part}') for part in ('x.npy', 'label.pkl'))
    os.makedirs(folder, exist_ok=True)
    np.save(position, x.transpose(AXES))
    names = [f'{index:06}' for index in range(len(x))]
    Path(label).write_bytes(pickle.dumps((names, labels(len(x)).tolist())))
    return position, label
