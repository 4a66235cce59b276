"""Film strips of the augmentations and views of a config."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from torch import Tensor

from aimclr_mm.models import SkeletonViews
from aimclr_mm.transforms import SkeletonTransform

from .inputs import as_sequence, preprocess
from .strips import Strip

MAX_NUMBERS = 9  # a title lists as many drawn numbers; of more it gives the standard deviation


def augmentation_strips(annotation: Mapping, cfg: Config, seed: int = 0) -> list[Strip]:
    """Return the preprocessed sequence, each augmentation alone, and one draw of each view.

    The augmentations are those of the extreme view, or of the query view if there is none. People
    absent from the recording are left out, although augmentations add noise to their zeros too.

    Args:
        annotation: the recording.
        cfg: config of a pre-training.
        seed: seed of the draws; the global random generator is left as it was.
    """
    x = preprocess(annotation, cfg)
    preprocessor = build_views(cfg)
    transforms = preprocessor.views

    drawn = [('preprocessed', x)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for transform in transforms.get('extreme', transforms['query']):
            result, parameters = apply_alone(transform, x)
            drawn.append((_title(transform, parameters), result))
        for name, view in preprocessor.make_views(x).items():
            drawn.append((f'{name} view: {_names(transforms[name])}', view))

    present = x.flatten(2).ne(0).any(dim=2)[..., None, None, None]  # (1, M, 1, 1, 1)
    return [
        Strip(as_sequence((view * present)[0], annotation['frame_dir']), title)
        for title, view in drawn
    ]


def build_views(cfg: Config) -> SkeletonViews:
    """Build the data preprocessor of a config.

    Raises:
        ValueError: if it makes no views.
    """
    settings = cfg.model.get('data_preprocessor')
    preprocessor = settings and MODELS.build(settings)
    if not isinstance(preprocessor, SkeletonViews) or not preprocessor.views:
        raise ValueError(
            f'config {cfg.filename!r} makes no views of a sequence: model.data_preprocessor must '
            'be a SkeletonViews with transforms; give the config of a pre-training'
        )
    return preprocessor


def apply_alone(transform: SkeletonTransform, x: Tensor) -> tuple[Tensor, str]:
    """Apply a transform to skeletons (1, M, T, V, C) whatever its probability.

    Returns:
        The transformed skeletons, and the drawn parameters as text.
    """
    parameters = transform.draw(x)
    return transform.apply(x, **parameters), describe(parameters)


def describe(parameters: Mapping[str, Tensor]) -> str:
    """Return drawn parameters of one sample, each (1, ...), as text: ``degrees 3.1, 0.4, 27``."""
    parts = []
    for name, value in parameters.items():
        numbers = value[0].flatten().tolist()
        nonzero = value[value != 0].float()  # noise is zero in channels that hold no coordinates
        if len(numbers) <= MAX_NUMBERS:
            parts.append(f'{name} {", ".join(f"{number:.3g}" for number in numbers)}')
        elif len(nonzero) > 1:
            parts.append(f'{name} of standard deviation {nonzero.std().item():.3g}')
        else:
            parts.append(name)
    return '; '.join(parts)


def _title(transform: SkeletonTransform, parameters: str) -> str:
    """Return the title of an augmentation: ``Shear (p = 1): factors 0.1, 0.3``."""
    title = type(transform).__name__
    if transform.is_random:
        title += f' (p = {transform.p:g})'
    if parameters:
        title += f': {parameters}'
    return title


def _names(transforms: list[SkeletonTransform]) -> str:
    return ', '.join(type(transform).__name__ for transform in transforms) or 'unchanged'
