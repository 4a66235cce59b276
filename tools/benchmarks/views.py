"""Three views of a batch: the data preprocessor, and the released feeder sample by sample."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS

from .data import AXES, skeletons, write_released
from .official import Official
from .settings import Settings, layout_of, project_config, versions_of_ours
from .timing import Case, alternate, figures


def measure(settings: Settings) -> dict:
    """Triples of views a second. The released feeder reads from memory and draws all eight augmentations."""
    layout = layout_of(project_config(settings))
    array = skeletons(settings, settings.batch, layout)
    cases = {}
    official = None if settings.official is None else Official(settings.official, settings.device)
    for name, (_, variant, peer) in versions_of_ours(settings).items():
        preprocessor = MODELS.build(
            project_config(settings, variant=variant).model.data_preprocessor
        )
        preprocessor.to(settings.device)
        x = torch.from_numpy(array).to(settings.device)[:, None]  # (N, 1, M, T, V, C)
        _check(
            [view.permute(AXES) for view in preprocessor(dict(inputs=x), True)['inputs'].values()],
            array,
            name,
        )
        cases[name] = Case(
            lambda p=preprocessor, x=x: p(dict(inputs=x), True), settings.batch, peer, repeats=10
        )
    if official is not None:
        feeder = official.modules['feeder.ntu_feeder'].Feeder_triple(
            *write_released(settings.folder, 'views', array), mmap=False, aug_method='123456'
        )
        _check(
            [torch.from_numpy(view.copy())[None] for view in feeder[0][0]], array[:1], 'released'
        )
        cases['released'] = Case(
            lambda: [feeder[index] for index in range(settings.batch)], settings.batch, True
        )
    return figures(cases, alternate(cases, settings.rounds, settings.warmup, settings.device))


def _check(views: list[torch.Tensor], array, name: str) -> None:
    """Raises RuntimeError unless there are three finite views (N, C, T, V, M) of the sequences."""
    n, m, t, v, c = array.shape
    if [tuple(view.shape) for view in views] != [(n, c, t, v, m)] * 3:
        raise RuntimeError(
            f'{name}: the views have the shapes {[tuple(view.shape) for view in views]}; three of '
            f'{(n, c, t, v, m)} are needed to compare'
        )
    if not all(torch.isfinite(view).all() for view in views):
        raise RuntimeError(f'{name}: a view is not finite')
