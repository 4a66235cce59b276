"""Three views of a batch: our data preprocessor, and the released feeder sample by sample."""

from __future__ import annotations

import numpy as np
import torch
from mmaction.registry import MODELS

from aimclr_mm.datasets.batch import SkeletonBatch

from .released import Released
from .timing import Case, compare
from .workload import TRANSPOSE, Settings, our_configs, skeletons, write_released


def measure(settings: Settings) -> dict:
    """Return triples of views per second; the released feeder draws all eight augmentations."""
    array = skeletons(settings, settings.batch)  # (N, M, T, V, C)
    x = torch.from_numpy(array).to(settings.device)
    batch = SkeletonBatch(x[:, None])  # (N, clips, M, T, V, C)

    cases = {}
    for name, (cfg, peer) in our_configs(settings).items():
        preprocessor = MODELS.build(cfg.model.data_preprocessor).to(settings.device)

        def run(preprocessor=preprocessor) -> dict:
            return preprocessor(batch, True)['inputs']

        check_views(name, [view.permute(TRANSPOSE) for view in run().values()], array)
        cases[name] = Case(run, settings.batch, peer)

    if settings.official is not None:
        files = write_released(settings.folder, array)
        feeders = Released(settings).modules['feeder.ntu_feeder']
        feeder = feeders.Feeder_triple(*files, mmap=False, aug_method='123456')

        def run_released() -> list:
            return [feeder[index] for index in range(settings.batch)]

        views = [torch.from_numpy(view.copy())[None] for view in feeder[0][0]]
        check_views('released', views, array[:1])
        cases['released'] = Case(run_released, settings.batch, peer=True)
    return compare('views', cases, settings.rounds)


def check_views(name: str, views: list[torch.Tensor], array: np.ndarray) -> None:
    """Raise RuntimeError unless there are three finite views (N, C, T, V, M) of the sequences."""
    expected = [tuple(array.shape[axis] for axis in TRANSPOSE)] * 3
    shapes = [tuple(view.shape) for view in views]
    if shapes != expected:
        raise RuntimeError(f'{name}: the views have the shapes {shapes} instead of {expected}')
    if not all(torch.isfinite(view).all() for view in views):
        raise RuntimeError(f'{name}: a view is not finite')
