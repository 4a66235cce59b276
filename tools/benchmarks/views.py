"""Three views of a batch: the data preprocessor, and the released feeder sample by sample."""

from __future__ import annotations

import numpy as np
import torch
from mmaction.registry import MODELS

from aimclr_mm.datasets.batch import SkeletonBatch

from .measure import Case, alternate, figures
from .official import Official
from .settings import (
    AXES,
    Settings,
    layout_of,
    project_config,
    skeletons,
    versions_of_ours,
    write_released,
)


def measure(settings: Settings) -> dict:
    """Return triples of views per second; the released feeder draws all eight augmentations."""
    array = skeletons(settings, settings.batch, layout_of(project_config(settings)))
    x = torch.from_numpy(array).to(settings.device)
    batch = SkeletonBatch(x[:, None])  # (N, clips, M, T, V, C)

    cases = {}
    for name, (_, variant, peer) in versions_of_ours(settings).items():
        cfg = project_config(settings, variant=variant).model.data_preprocessor
        preprocessor = MODELS.build(cfg).to(settings.device)

        def run(preprocessor=preprocessor) -> dict:
            return preprocessor(batch, True)['inputs']

        _check([view.permute(AXES) for view in run().values()], array, name)
        cases[name] = Case(run, settings.batch, peer, repeats=10)

    if settings.official is not None:
        official = Official(settings.official, settings.device)
        feeder = official.modules['feeder.ntu_feeder'].Feeder_triple(
            *write_released(settings.folder, 'views', array), mmap=False, aug_method='123456'
        )
        views = [torch.from_numpy(view.copy())[None] for view in feeder[0][0]]
        _check(views, array[:1], 'released')
        released = lambda: [feeder[index] for index in range(settings.batch)]  # noqa: E731
        cases['released'] = Case(released, settings.batch, True)
    return figures(cases, alternate(cases, settings.rounds, settings.warmup))


def _check(views: list[torch.Tensor], array: np.ndarray, name: str) -> None:
    """Raise RuntimeError unless there are three finite views (N, C, T, V, M) of the sequences."""
    wanted = [tuple(array.shape[axis] for axis in AXES)] * 3
    shapes = [tuple(view.shape) for view in views]
    if shapes != wanted:
        raise RuntimeError(f'{name}: the views have the shapes {shapes} instead of {wanted}')
    if not all(torch.isfinite(view).all() for view in views):
        raise RuntimeError(f'{name}: a view is not finite')
