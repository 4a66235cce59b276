"""What EADM drops: attention and masks by joint and frame (Eq. 3, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import Config
from torch import Tensor

from aimclr_mm.models.eadm import EADM, energy_attention
from aimclr_mm.skeletons import Layout

from .bones import add_legend
from .geometry import View, present_people
from .inputs import as_sequence, preprocess
from .strips import WIDTH, Strip, add_strips

MAP_HEIGHT = 3.1  # of a person's heat maps, inches
DROPPED_COLOR = '#bd1f01'
MARKS = {'x': 'dropped by the spatial mask', 'o': 'share dropped by the temporal mask'}


class Drops(NamedTuple):
    """EADM on one sequence of M people; its feature map has T' frames and V joints.

    Args:
        sequence: the preprocessed sequence, ``keypoint`` (M, T, V, C).
        attention: (M, T', V), mean over channels.
        joints: (M, V) booleans, dropped by the spatial mask.
        share: (M, T', V), share of the channels that the temporal mask drops.
    """

    sequence: dict
    attention: np.ndarray
    joints: np.ndarray
    share: np.ndarray


def find_eadm(model: torch.nn.Module) -> EADM:
    """Return the EADM module of a model.

    Raises:
        ValueError: if it has none, or several streams with one each.
    """
    if hasattr(model, 'streams'):
        raise ValueError(
            'the model trains several streams; choose one with --stream: '
            f'{", ".join(model.streams)}'
        )
    eadm = getattr(model, 'eadm', None)
    if eadm is None:
        raise ValueError(f'the {type(model).__name__} of the config has no EADM (model.eadm)')
    return eadm


@torch.no_grad()
def eadm_drops(annotation: Mapping, cfg: Config, model: torch.nn.Module) -> Drops:
    """Return EADM's attention and masks for a sequence, in eval mode, without augmentation.

    While training, EADM receives the extreme view instead, normalized by the batch's statistics.

    Args:
        annotation: the recording.
        cfg: config of the model.
        model: the model, as :func:`aimclr_mm.apis.load_encoder` returns it.
    """
    eadm = find_eadm(model)
    x = preprocess(annotation, cfg)  # (1, M, T, V, C)

    preprocessor = model.data_preprocessor
    stream = preprocessor.form_streams(x.to(preprocessor.device))
    feature_map = model.encoder.backbone(stream)  # (1, M, C, T', V)
    return Drops(as_sequence(x[0], annotation['frame_dir']), *map_drops(eadm, feature_map[0]))


def map_drops(eadm: EADM, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``attention``, ``joints`` and ``share`` of :class:`Drops` for a map (M, C, T', V)."""
    spatial, temporal = eadm.masks(x)
    attention = energy_attention(x, eadm.lam, eadm.unbiased).mean(dim=1)
    share = (~temporal).float().mean(dim=1).expand_as(attention)
    return attention.cpu().numpy(), (~spatial)[:, 0, 0].cpu().numpy(), share.cpu().numpy()


def draw_drops(
    drops: Drops, layout: Layout, frames: int | None = None, view: View | None = None
) -> Figure:
    """Draw the film strip, and each person's attention and dropped share as heat maps (T', V).

    Args:
        drops: see :func:`eadm_drops`.
        layout: joint layout.
        frames, view: see :func:`~.strips.draw_strips`.
    """
    people = np.flatnonzero(present_people(drops.sequence))
    figure = Figure(figsize=(WIDTH, 4.0), layout='constrained')
    grid = figure.add_gridspec(1 + len(people), 2)

    axes = figure.add_subplot(grid[0, :])
    _, height = add_strips([axes], [drop_strip(drops, people)], layout, frames, view)
    heights = [0.3 + height, *[MAP_HEIGHT] * len(people)]
    grid.set_height_ratios(heights)
    figure.set_figheight(0.4 + sum(heights))

    for row, person in enumerate(people, start=1):
        prefix = f'person {person}: ' if len(people) > 1 else ''
        left, right = (figure.add_subplot(grid[row, column]) for column in range(2))
        _draw_person(left, right, drops, person, layout, prefix)
    add_legend(figure, len(people), MARKS)
    return figure


def drop_strip(drops: Drops, people: np.ndarray) -> Strip:
    """Return the film strip: crosses at dropped joints, circles by the dropped share of channels.

    Args:
        drops: see :func:`eadm_drops`.
        people: indices of the people to draw.
    """
    frames = np.asarray(drops.sequence['keypoint']).shape[1]
    map_frames = np.arange(frames) * drops.share.shape[1] // frames  # (T,) in 0 to T' - 1
    crosses = np.repeat(drops.joints[:, None], frames, axis=1)  # (M, T, V)
    return Strip(
        {**drops.sequence, 'keypoint': drops.sequence['keypoint'][people]},
        drops.sequence['frame_dir'],
        circles=drops.share[people][:, map_frames],
        crosses=crosses[people],
    )


def _draw_person(
    left: Axes, right: Axes, drops: Drops, person: int, layout: Layout, prefix: str
) -> None:
    """Draw the two heat maps of a person."""
    attention = drops.attention[person]
    share = drops.share[person]
    dropped = drops.joints[person]

    left.set_title(
        f'{prefix}attention; spatial mask drops {100 * dropped.mean():.0f} % (red joints)',
        fontsize=9,
    )
    _draw_heat_map(left, attention, layout, dropped, cmap='viridis')
    right.set_title(
        f'{prefix}share of channels dropped; temporal mask drops {100 * share.mean():.0f} %',
        fontsize=9,
    )
    _draw_heat_map(right, share, layout, dropped, cmap='magma', vmin=0, vmax=1)


def _draw_heat_map(
    axes: Axes, values: np.ndarray, layout: Layout, dropped: np.ndarray, **colors
) -> None:
    """Draw values (T', V); the names of dropped joints are red."""
    image = axes.imshow(values, aspect='auto', interpolation='nearest', **colors)
    axes.set_xticks(range(len(dropped)), layout.joints, rotation=90, fontsize=7)
    for label, drop in zip(axes.get_xticklabels(), dropped):
        if drop:
            label.set(color=DROPPED_COLOR, fontweight='bold')

    axes.set_ylabel('frame of the feature map', fontsize=8)
    axes.tick_params(axis='y', labelsize=7)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.figure.colorbar(image, ax=axes, pad=0.01).ax.tick_params(labelsize=7)
