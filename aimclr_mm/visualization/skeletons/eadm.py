"""What EADM drops of a sequence: attention and masks over joints and frames (Eq. 3 and Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import Config

from aimclr_mm.models.eadm import EADM, energy_attention
from aimclr_mm.skeletons import Layout

from .geometry import View, present_people
from .inputs import as_sequence, preprocessed
from .strips import WIDTH, Strip, add_strips, legend


class Drops(NamedTuple):
    """EADM on one sequence of M people, T' frames of the feature map and V joints."""

    sequence: dict  # preprocessed, M people, T frames
    attention: np.ndarray  # (M, T', V), mean over channels
    joints: np.ndarray  # (M, V), booleans: dropped by the spatial mask
    share: np.ndarray  # (M, T', V), share of the channels that the temporal mask drops


def find_eadm(model: torch.nn.Module) -> EADM:
    """The drop module of a model.

    Raises:
        ValueError: if it has none, or several streams with one each.
    """
    if hasattr(model, 'streams'):
        raise ValueError(
            f'the model trains several streams; choose one with --stream: {", ".join(model.streams)}'
        )
    eadm = getattr(model, 'eadm', None)
    if eadm is None:
        raise ValueError(f'the {type(model).__name__} of the config has no EADM (model.eadm)')
    return eadm


@torch.no_grad()
def eadm_drops(annotation: Mapping, cfg: Config, model: torch.nn.Module) -> Drops:
    """What EADM drops of a sequence, without augmentation and with the model in evaluation mode.

    In a training it sees the extreme view and the statistics of the batch.

    Args:
        annotation: the recording.
        cfg: config of the model.
        model: as :func:`aimclr_mm.apis.load_encoder` gives it.
    """
    eadm, x = find_eadm(model), preprocessed(annotation, cfg)
    views = model.data_preprocessor
    feature_map = model.encoder.backbone(views.form_streams(x.to(views.device)))  # (1, M, C, T', V)
    return Drops(as_sequence(x[0], annotation['frame_dir']), *map_drops(eadm, feature_map[0]))


def map_drops(eadm: EADM, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``attention``, ``joints`` and ``share`` of :class:`Drops` of a feature map (M, C, T', V)."""
    spatial, temporal = eadm.masks(x)
    attention = energy_attention(x, eadm.lam, eadm.unbiased).mean(dim=1)
    share = (~temporal).float().mean(dim=1).expand_as(attention)
    return attention.cpu().numpy(), (~spatial)[:, 0, 0].cpu().numpy(), share.cpu().numpy()


def drop_strip(drops: Drops, people: np.ndarray) -> Strip:
    """The film strip with crosses at joints that are dropped and circles by the share of channels dropped."""
    frames = np.asarray(drops.sequence['keypoint']).shape[1]
    steps = np.arange(frames) * drops.share.shape[1] // frames  # frame -> frame of the map
    crosses = np.repeat(drops.joints[:, None], frames, axis=1)
    sequence = {**drops.sequence, 'keypoint': drops.sequence['keypoint'][people]}
    return Strip(
        sequence,
        drops.sequence['frame_dir'],
        circles=drops.share[people][:, steps],
        crosses=crosses[people],
    )


def _heat_map(
    axes: Axes,
    values: np.ndarray,
    layout: Layout,
    dropped: np.ndarray,
    limits: tuple[float, float],
    cmap: str,
    title: str,
) -> None:
    image = axes.imshow(
        values, aspect='auto', cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation='nearest'
    )
    axes.set_xticks(range(len(dropped)), layout.joints, rotation=90, fontsize=7)
    for label, drop in zip(axes.get_xticklabels(), dropped):
        label.set(color='#bd1f01' if drop else 'black', fontweight='bold' if drop else 'normal')
    axes.set_ylabel('frame of the feature map', fontsize=8)
    axes.tick_params(axis='y', labelsize=7)
    axes.set_title(title, fontsize=9)
    axes.figure.colorbar(image, ax=axes, pad=0.01).ax.tick_params(labelsize=7)


def draw_drops(
    drops: Drops, layout: Layout, frames: int | None = None, view: View | None = None
) -> Figure:
    """The picture: the film strip, then for each person attention and dropped share as heat maps (T', V).

    Args:
        drops: see :func:`eadm_drops`.
        layout: joint layout.
        frames, view: see :func:`~aimclr_mm.visualization.skeletons.draw_strips`.
    """
    people = np.flatnonzero(present_people(drops.sequence))
    figure = Figure(figsize=(WIDTH, 4.0), layout='constrained')
    grid = figure.add_gridspec(1 + len(people), 2)
    ratio = add_strips(
        [figure.add_subplot(grid[0, :])], [drop_strip(drops, people)], layout, frames, view
    )
    heights = [0.3 + WIDTH * ratio, *[3.1] * len(people)]
    grid.set_height_ratios(heights)
    figure.set_figheight(0.4 + sum(heights))
    for row, person in enumerate(people, 1):
        line = [figure.add_subplot(grid[row, column]) for column in range(2)]
        who = f'person {person}: ' if len(people) > 1 else ''
        joints, share, attention = (
            drops.joints[person],
            drops.share[person],
            drops.attention[person],
        )
        _heat_map(
            line[0],
            attention,
            layout,
            joints,
            (attention.min(), attention.max()),
            'viridis',
            f'{who}attention; spatial mask drops {100 * joints.mean():.0f} % (red joints)',
        )
        _heat_map(
            line[1],
            share,
            layout,
            joints,
            (0, 1),
            'magma',
            f'{who}share of channels dropped; temporal mask drops {100 * share.mean():.0f} %',
        )
    legend(
        figure,
        len(people),
        {'x': 'dropped by the spatial mask', 'o': 'share dropped by the temporal mask'},
    )
    return figure
