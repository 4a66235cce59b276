"""Estimate the time of a plan from a few steps of each kind of training on random data."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from statistics import median

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from aimclr_mm.apis import cli
from aimclr_mm.datasets import SkeletonBatch, load_annotations, write_pickle
from aimclr_mm.datasets.prepare import READERS
from aimclr_mm.engine.console_log import duration
from aimclr_mm.skeletons import get_layout

from .configs import digest, read
from .jobs import TRAININGS, Job, Training

STEPS = 3  # timed steps, a single one if it takes longer than LONG
LONG = 5.0  # seconds
READABLE = 2**29  # bytes; larger annotation files are not read to count their sequences
FRAMES = 60  # of a random sequence


def random_batch(cfg: Config) -> SkeletonBatch:
    """Return a batch of the training's data loader on random sequences; changes the config."""
    loader, dataset = cfg.train_dataloader, cfg.train_dataloader.dataset
    layout, rng = get_layout(dataset.layout), np.random.default_rng(0)
    shape = (2, FRAMES, layout.num_joints, layout.dims)
    annotations = [
        dict(
            frame_dir=f'random{i}',
            label=i % 2,
            total_frames=FRAMES,
            keypoint=rng.normal(size=shape).astype(np.float32),
        )
        for i in range(loader.batch_size)
    ]
    split = {dataset.split: [annotation['frame_dir'] for annotation in annotations]}

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'random.pkl')
        write_pickle(dict(split=split, annotations=annotations), path)
        dataset.update(ann_file=path, cache=False, batched=False, fraction=1.0)
        loader.update(num_workers=0, persistent_workers=False)
        return next(iter(Runner.build_dataloader(loader, seed=0)))


def measure(training: Training, amp: bool, device: str) -> tuple[float, float]:
    """Return the seconds of a training step and of the forward pass of one sequence.

    Args:
        training: training to measure.
        amp: mixed precision.
        device: such as ``cuda:0``.
    """
    cfg = deepcopy(read(training.site, training.overlays))
    if amp and device == 'cpu':  # also where there are GPUs
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    elif amp:
        cli.use_amp(cfg)
    init_default_scope('mmaction')
    MMLogger.get_current_instance().setLevel('WARNING')

    batch = random_batch(cfg)
    model = MODELS.build(cfg.model).to(device)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)

    def step() -> None:
        model.train()
        if hasattr(model, 'update_key_encoder'):
            model.update_key_encoder()
        model.train_step(batch, optimizer)

    @torch.no_grad()
    def forward() -> None:
        model.eval()
        model.test_step(batch)

    return timed(step, device), timed(forward, device) / len(batch.inputs)


def timed(call: Callable[[], None], device: str) -> float:
    """Return the median seconds of a few calls after a warm-up."""

    def once() -> float:
        start = time.perf_counter()
        call()
        if device != 'cpu':
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    return median(once() for _ in range(STEPS if once() < LONG else 1))


def count_sequences(site: str) -> tuple[int, int]:
    """Return the number of training and test sequences, from the annotation file or as published.

    Published numbers are also used for files so large that reading takes minutes.

    Raises:
        FileNotFoundError: if there is neither a file nor a published number.
        ValueError: if the file lacks the split.
    """
    name, split = site.split('_')
    dataset = read(site, ()).train_dataloader.dataset
    published = {key.replace('_', ''): reader.published for key, reader in READERS.items()}
    counts = published.get(name, {})
    readable = os.path.isfile(dataset.ann_file) and os.path.getsize(dataset.ann_file) <= READABLE
    if readable or not counts:
        splits = load_annotations(dataset.ann_file, dataset.get('hint', ''))['split']
        counts = {key: len(members) for key, members in splits.items()}

    for key in (f'{split}_train', f'{split}_val'):
        if key not in counts:
            raise ValueError(
                f'{dataset.ann_file!r} has no split {key!r}; it has {", ".join(counts)}'
            )
    return counts[f'{split}_train'], counts[f'{split}_val']


class Estimator:
    """Seconds of jobs; each distinct kind of training is measured once.

    Args:
        amp: mixed precision.
        device: such as ``cuda:0``.
    """

    def __init__(self, amp: bool, device: str = 'cpu') -> None:
        self.amp = amp
        self.device = device
        self.count = cache(count_sequences)
        self._measured: dict[str, tuple[float, float]] = {}

    def speed(self, training: Training) -> tuple[float, float]:
        """See :func:`measure`."""
        cfg = read(training.site, training.overlays)
        dataset = cfg.train_dataloader.dataset
        steps = [dict(step) for step in (*dataset.preprocess, *dataset.pipeline)]
        settings = [cfg.to_dict()['model'], cfg.train_dataloader.batch_size, dataset.layout, steps]
        key = digest(settings)
        if key not in self._measured:
            names = ' '.join((training.config, *training.overlays))
            print(f'measuring {names}', file=sys.stderr, flush=True)
            self._measured[key] = measure(training, self.amp, self.device)
        return self._measured[key]

    def steps(self, job: Job) -> int:
        """Return the training steps of a job over all epochs."""
        loader = read(job.training.site, job.training.overlays).train_dataloader
        batches = job.share * self.count(job.training.site)[0] / loader.batch_size
        whole = math.floor(batches) if loader.get('drop_last') else math.ceil(batches)
        return job.training.epochs * max(whole, 1)

    def seconds(self, job: Job) -> float | None:
        """Return the seconds of a training, or of an evaluation's forward pass; else None."""
        if job.training is None:
            return None
        step, forward = self.speed(job.training)
        if job.kind in TRAININGS:
            return self.steps(job) * step
        return sum(self.count(job.training.site)) * forward


def describe(jobs: Sequence[Job], estimator: Estimator) -> tuple[list[str], float]:
    """Return one line per job and the seconds of all of them together."""
    lines, total = [], 0.0
    for number, job in enumerate(jobs, start=1):
        line = f'{number:>4}  {job.kind:<12}  {job.name}'
        seconds = estimator.seconds(job)
        if seconds is not None:
            steps = f'{estimator.steps(job)} steps, ' if job.kind in TRAININGS else ''
            line += f'  ({steps}{duration(seconds)})'
            total += seconds
        lines.append(line)
    return lines, total
