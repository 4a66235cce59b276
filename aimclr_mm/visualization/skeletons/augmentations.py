"""What each augmentation of a config and its views do to a sequence."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from torch import Tensor

from aimclr_mm.models import SkeletonViews
from aimclr_mm.transforms import RandomTransform, SkeletonTransform

from .inputs import as_sequence, preprocessed
from .strips import Strip

FEW = 9  # numbers that a caption lists; of more it tells the standard deviation


def describe(params: Mapping[str, Tensor]) -> str:
    """Drawn parameters of one sample, (1, ...) each, as text: ``degrees 3.1, 0.4, 27``; empty if there are none."""
    parts = []
    for name, value in params.items():
        numbers = value[0].flatten().tolist()
        if len(numbers) > FEW:
            drawn = value[value != 0].float()  # some channels are no coordinates
            parts.append(
                f'{name} of standard deviation {drawn.std().item():.3g}' if len(drawn) > 1 else name
            )
        else:
            parts.append(f'{name} {", ".join(f"{number:.3g}" for number in numbers)}')
    return '; '.join(parts)


def apply_alone(transform: SkeletonTransform, x: Tensor) -> tuple[Tensor, str]:
    """A transform whatever its probability: skeletons (1, M, T, V, C) after it, and what it drew."""
    if not isinstance(transform, RandomTransform):
        return transform.batch(x), ''
    params = transform.draw(x)
    return transform.apply(x, **params), describe(params)


def _caption(transform: SkeletonTransform, drawn: str) -> str:
    probability = f' (p = {transform.p:g})' if isinstance(transform, RandomTransform) else ''
    return f'{type(transform).__name__}{probability}' + (f': {drawn}' if drawn else '')


def _names(transforms: list[SkeletonTransform]) -> str:
    return ', '.join(type(transform).__name__ for transform in transforms) or 'unchanged'


def build_views(cfg: Config) -> SkeletonViews:
    """The data preprocessor of a config.

    Raises:
        ValueError: if it makes no views.
    """
    settings = cfg.model.get('data_preprocessor')
    views = settings and MODELS.build(settings)
    if not isinstance(views, SkeletonViews) or not views.views:
        raise ValueError(
            f'config {cfg.filename!r} makes no views of a sequence: model.data_preprocessor must be a '
            'SkeletonViews with transforms; give the config of a pre-training'
        )
    return views


def augmentation_strips(annotation: Mapping, cfg: Config, seed: int = 0) -> list[Strip]:
    """The preprocessed sequence, each transform of the extreme view by itself, and one draw of each view.

    Without an extreme view the transforms of the query view are shown. People who are not in the recording are left
    out, though noise is added to their zeros too.

    Args:
        annotation: the recording.
        cfg: config of a pre-training.
        seed: of what is drawn; the global generator is left as it was.
    """
    x = preprocessed(annotation, cfg)
    views = build_views(cfg)
    present = x.flatten(2).ne(0).any(dim=2)[..., None, None, None]  # (1, M, 1, 1, 1)
    found = [('preprocessed', x)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for transform in views.views.get('extreme', views.views['query']):
            result, drawn = apply_alone(transform, x)
            found.append((_caption(transform, drawn), result))
        for name, view in views.make_views(x).items():
            found.append((f'{name} view: {_names(views.views[name])}', view))
    return [
        Strip(as_sequence((view * present)[0], annotation['frame_dir']), title)
        for title, view in found
    ]
