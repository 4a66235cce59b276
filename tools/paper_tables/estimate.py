"""How long a plan will take, from a few steps of each kind of training on random data."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from copy import deepcopy
from statistics import median

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from aimclr_mm.apis import cli
from aimclr_mm.datasets import load_annotations, write_pickle
from aimclr_mm.datasets.prepare import READERS
from aimclr_mm.skeletons import get_layout

from .configs import digest, read
from .graph import TRAININGS, Job, Training
from .screen import duration

STEPS, LONG = 3, 5.0  # timed steps; seconds of a first step after which one more has to do
READABLE = 2**29  # bytes of an annotation file that is read to count its sequences
FRAMES = 60  # of a random sequence


def random_loader(cfg, folder: str):
    """The training's data loader on one batch of random sequences of the config's shape.

    Args:
        cfg: composed config; changed.
        folder: for the annotation file.
    """
    loader, dataset = cfg.train_dataloader, cfg.train_dataloader.dataset
    layout, rng = get_layout(dataset.layout), np.random.default_rng(0)
    names = [f'random{i}' for i in range(loader.batch_size)]
    shape = (2, FRAMES, layout.num_joints, layout.dims)
    write_pickle(
        dict(
            split={dataset.split: names},
            annotations=[
                dict(
                    frame_dir=name,
                    label=i % 2,
                    total_frames=FRAMES,
                    keypoint=rng.normal(size=shape).astype(np.float32),
                )
                for i, name in enumerate(names)
            ],
        ),
        os.path.join(folder, 'random.pkl'),
    )
    dataset.update(
        ann_file=os.path.join(folder, 'random.pkl'), cache=False, batched=False, fraction=1.0
    )
    loader.update(num_workers=0, persistent_workers=False)
    return Runner.build_dataloader(loader, seed=0)


def measure(training: Training, amp: bool) -> tuple[float, float]:
    """Seconds of a training step, and of passing one sequence forward, on the device that this process sees.

    Args:
        training: what is trained.
        amp: mixed precision.
    """
    cfg = deepcopy(read(training.site, training.overlays))
    if amp:
        cli.use_amp(cfg)
    init_default_scope('mmaction')
    MMLogger.get_current_instance().setLevel('WARNING')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    with tempfile.TemporaryDirectory() as folder:
        batch = next(iter(random_loader(cfg, folder)))
    model = MODELS.build(cfg.model).to(device)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)

    def step() -> None:
        model.train()
        if hasattr(model, 'update_key_encoder'):
            model.update_key_encoder()
        model.train_step(batch, optimizer)

    def forward() -> None:
        model.eval()
        with torch.no_grad():
            model.test_step(batch)

    return timed(step, device), timed(forward, device) / len(batch['inputs'])


def timed(call, device: str) -> float:
    """Median of the seconds of a few calls, after one that does not count."""

    def once() -> float:
        start = time.perf_counter()
        call()
        if device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return median(once() for _ in range(STEPS if once() < LONG else 1))


def sequences(site: str) -> tuple[int, int]:
    """Number of sequences to train and to test on: those of the annotation file, or the published ones.

    The published ones are also taken where the file is so large that reading it takes minutes.

    Raises:
        FileNotFoundError: if there is neither a file nor a published number.
    """
    dataset, split = read(site, ()).train_dataloader.dataset, site.split('_')[1]
    names = (f'{split}_train', f'{split}_val')
    published = {name.replace('_', ''): reader.published for name, reader in READERS.items()}
    counts = published.get(site.split('_')[0], {})
    readable = os.path.isfile(dataset.ann_file) and os.path.getsize(dataset.ann_file) <= READABLE
    if readable or not counts:
        counts = {
            name: len(members)
            for name, members in load_annotations(dataset.ann_file, dataset.get('hint', ''))[
                'split'
            ].items()
        }
    missing = [name for name in names if name not in counts]
    if missing:
        raise ValueError(
            f'{dataset.ann_file!r} has no split {missing[0]!r}; it has {", ".join(counts)}'
        )
    return tuple(counts[name] for name in names)


class Estimator:
    """Seconds of jobs; each distinct kind of training is measured once.

    Args:
        amp: mixed precision.
    """

    def __init__(self, amp: bool) -> None:
        self.amp = amp
        self._measured: dict[str, tuple[float, float]] = {}
        self._sequences: dict[str, tuple[int, int]] = {}

    def speed(self, training: Training) -> tuple[float, float]:
        """See :func:`measure`."""
        cfg = read(training.site, training.overlays)
        dataset = cfg.train_dataloader.dataset
        key = digest(
            [
                cfg.to_dict()['model'],
                cfg.train_dataloader.batch_size,
                dataset.layout,
                [dict(step) for step in (*dataset.preprocess, *dataset.pipeline)],
            ]
        )
        if key not in self._measured:
            print(
                f'measuring {" ".join((training.config, *training.overlays))}',
                file=sys.stderr,
                flush=True,
            )
            self._measured[key] = measure(training, self.amp)
        return self._measured[key]

    def steps(self, job: Job) -> int:
        """Training steps of a job, all epochs together."""
        loader = read(job.training.site, job.training.overlays).train_dataloader
        batches = job.share * self.count(job.training.site)[0] / loader.batch_size
        return job.training.epochs * max(
            int(batches) if loader.get('drop_last') else -int(-batches // 1), 1
        )

    def count(self, site: str) -> tuple[int, int]:
        """See :func:`sequences`."""
        if site not in self._sequences:
            self._sequences[site] = sequences(site)
        return self._sequences[site]

    def seconds(self, job: Job) -> float | None:
        """Seconds of a training, or of an evaluation without its linear classifiers; None for short jobs."""
        if job.training is None:
            return None
        step, forward = self.speed(job.training)
        return (
            self.steps(job) * step
            if job.kind in TRAININGS
            else sum(self.count(job.training.site)) * forward
        )


def describe(jobs: Sequence[Job], estimator: Estimator) -> tuple[list[str], float]:
    """One line a job, and the seconds of all of them together."""
    lines, total = [], 0.0
    for number, job in enumerate(jobs, start=1):
        seconds = estimator.seconds(job)
        total += seconds or 0.0
        steps = f'{estimator.steps(job)} steps, ' if job.kind in TRAININGS else ''
        lines.append(
            f'{number:>4}  {job.kind:<12}  {job.name}'
            + (f'  ({steps}{duration(seconds)})' if seconds is not None else '')
        )
    return lines, total
