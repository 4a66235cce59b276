"""Curves over the time of long recordings, with the segments that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .figures import PALETTE, save_figure

MAX_CURVES = len(PALETTE)


@dataclass
class Timeline:
    """The windows of one recording.

    Args:
        title: name of the recording.
        times: (W, 2) start and end of each window in seconds.
        curves: name -> (W,) values.
        segments: start, end and name of a curve; drawn as a bar in its color.
    """

    title: str
    times: np.ndarray
    curves: Mapping[str, np.ndarray]
    segments: Sequence[tuple[float, float, str]] = field(default_factory=list)


def draw_timelines(timelines: Sequence[Timeline], ylabel: str, path: str) -> None:
    """Draw a panel for each recording; a curve has the same color in all of them.

    Of more than ten curves, those with the highest values are drawn.

    Args:
        timelines: recordings.
        ylabel: quantity of the curves.
        path: picture to write.
    """
    from matplotlib.figure import Figure  # here: a slow import

    names = list(dict.fromkeys(name for line in timelines for name in line.curves))
    peaks = {n: max(line.curves[n].max() for line in timelines if n in line.curves) for n in names}
    shown = sorted(names, key=lambda n: -peaks[n])[:MAX_CURVES]
    colors = {name: PALETTE[i] for i, name in enumerate(n for n in names if n in shown)}

    figure = Figure(figsize=(9, 2.2 * len(timelines) + 0.6), layout='constrained')
    panels = figure.subplots(len(timelines), squeeze=False)[:, 0]
    for axes, timeline in zip(panels, timelines):
        for name in colors:
            if name in timeline.curves:
                middle = timeline.times.mean(axis=1)
                axes.plot(middle, timeline.curves[name], color=colors[name], label=name)
        for start, end, name in timeline.segments:
            axes.axvspan(start, end, 0, 0.04, color=colors.get(name, 'gray'))
        axes.set_title(timeline.title, fontsize=9)
        axes.set_xlim(timeline.times.min(), timeline.times.max())
        axes.set_ylabel(ylabel)
    panels[-1].set_xlabel('seconds')

    handles = {label: h for axes in panels for h, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc='outside right upper', fontsize=8)
    save_figure(figure, path)
