"""Curves over training: loss, collapse monitor and accuracy of one run; KNN accuracy of several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from aimclr_mm.evaluation.knn_curve import Point, final_points
from aimclr_mm.utils.training_log import History

from .charts import Chart, training_charts
from .figures import PALETTE

COLUMNS = 3  # charts side by side in the picture of a training
KNN_STYLES = {
    'logged': dict(linestyle='--', linewidth=1.5, marker='.'),
    'checkpoint': dict(linestyle='-', linewidth=2, marker='o'),
}
KNN_LABELS = {'logged': 'logged', 'checkpoint': 'checkpoints'}


def draw_training(history: History) -> Figure:
    """Draw all that a training logged over its epochs, see :func:`~.charts.training_charts`."""
    charts = training_charts(history)
    columns = min(COLUMNS, len(charts)) or 1
    rows = -(-len(charts) // columns) or 1

    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, chart in zip(axes, charts):
        _draw_chart(axis, chart)
    for axis in axes[len(charts) :]:
        axis.set_axis_off()
    return figure


def _draw_chart(axis: Axes, chart: Chart) -> None:
    """Draw one chart; a single value gets a dot."""
    for series in chart.series:
        epochs = sorted(series.values)
        values = [series.values[epoch] for epoch in epochs]
        if series.reference:
            style = dict(color='gray', linestyle='--')
        else:
            style = dict(color=PALETTE[series.color % len(PALETTE)])
        marker = 'o' if len(epochs) == 1 else None
        axis.plot(epochs, values, label=series.label, marker=marker, **style)

    low, high = axis.get_ylim()
    axis.set_ylim(min(low, *chart.include), max(high, *chart.include))
    note = f'\n{chart.note}' if chart.note else ''
    axis.set_title(chart.title + note, fontsize=10)
    axis.set_xlabel('epoch')
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axis.grid(alpha=0.3)
    if len(chart.series) > 1:
        axis.legend()


def draw_knn_curves(points: Sequence[Point], ks: Sequence[int]) -> Figure:
    """Draw KNN accuracy over training for one k, and over k at the last epoch (Figure 3).

    Args:
        points: accuracies of all runs, see :func:`~aimclr_mm.evaluation.knn_curve.run_points`.
        ks: numbers of neighbors; the left panel shows the first one with any accuracy.
    """
    table = pd.DataFrame(points)
    k = next(k for k in ks if (table['k'] == k).any())
    colors = dict(zip(table['run'].unique(), cycle(PALETTE)))

    figure = Figure(figsize=(12, 5))
    over_epochs, over_k = figure.subplots(
        1, 2, sharey=True, width_ratios=(2, 1), gridspec_kw=dict(wspace=0.08)
    )
    _plot_runs(over_epochs, table[table['k'] == k], 'epoch', colors)
    _plot_runs(
        over_k, _best_source(final_points(points)).sort_values('k', kind='stable'), 'k', colors
    )

    over_epochs.set_title(f'KNN accuracy over training, k = {k}', fontsize=14)
    over_epochs.set_ylabel('top-1 accuracy, %', fontsize=13)
    over_epochs.xaxis.get_major_locator().set_params(integer=True)
    over_k.set_title('at the last epoch', fontsize=14)
    over_k.set_xscale('log')
    over_k.set_xticks(sorted(ks), labels=list(map(str, sorted(ks))))
    over_k.minorticks_off()

    over_k.legend(
        handles=_knn_legend(colors, set(table['source'])),
        loc='upper left',
        bbox_to_anchor=(1.02, 1),
        fontsize=13,
        frameon=False,
        borderaxespad=0,
    )
    return figure


def _plot_runs(axis: Axes, table: pd.DataFrame, x: str, colors: dict[str, str]) -> None:
    """Plot top-1 accuracy over a column, one line per run and source."""
    for (run, source), group in table.groupby(['run', 'source'], sort=False):
        axis.plot(group[x], group['top1'], color=colors[run], **KNN_STYLES[source])
    axis.set_xlabel(x, fontsize=13)
    axis.tick_params(labelsize=12)
    axis.grid(alpha=0.3)


def _best_source(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the checkpoints' accuracies of each run, or the logged ones if there are no others."""
    evaluated = table.loc[table['source'] == 'checkpoint', 'run']
    return table[(table['source'] == 'checkpoint') | ~table['run'].isin(evaluated)]


def _knn_legend(colors: dict[str, str], sources: set[str]) -> list[Line2D]:
    """Return legend handles: a thick line per run, a black one per source."""
    runs = [Line2D([], [], color=color, linewidth=4, label=run) for run, color in colors.items()]
    styles = [
        Line2D([], [], color='black', label=KNN_LABELS[source], **style)
        for source, style in KNN_STYLES.items()
        if source in sources
    ]
    return runs + styles
