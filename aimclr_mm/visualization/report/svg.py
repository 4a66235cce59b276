"""Geometry of the report's drawings: positions, ticks and SVG path data for the templates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from aimclr_mm.visualization.charts import Chart, Series

# a chart and its margins, in SVG units
WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 36

MAX_DOTS = 40  # curves of fewer points show each of them
COLORS = 6  # number of curve colors in the style sheet
SHADES = 12  # of the confusion matrix
MATRIX_STEPS = (1, 2, 5, 10, 20, 50, 100)  # between numbered classes
MAX_TICKS = 13  # numbered classes at most
PLANE, MARGIN = 480, 8  # side of the embedding's picture and free space at its edges
GOLDEN_ANGLE = 137.508  # degrees; makes the hues of consecutive classes differ


class Axis:
    """Linear map from values to SVG units.

    Args:
        low, high: values at the ends.
        start, end: SVG units of the ends.
    """

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        if low == high:
            low, high = low - 0.5, high + 0.5
        self.low = low
        self.start = start
        self.slope = (end - start) / (high - low)

    def position(self, value: float) -> float:
        """Return the SVG unit of a value, rounded to a tenth."""
        return round(self.start + (value - self.low) * self.slope, 1)

    def ticks(self, values: Iterable[float]) -> list[tuple[float, str]]:
        """Return (SVG unit, text) of each value."""
        return [(self.position(value), f'{value:.6g}') for value in values]


def short(value: float | None) -> str:
    """Format a number with four digits; a dash if it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return '–'
    return f'{value:.4g}'.replace('-', '−')


def draw_chart(chart: Chart) -> dict:
    """Return the template's description of a chart.

    ``epochs`` are those of all its curves; each curve's ``values`` are on them, None for a gap.
    """
    epochs = sorted(set().union(*(series.values for series in chart.series)))
    values = [v for series in chart.series for v in series.values.values() if math.isfinite(v)]
    values = [*values, *chart.include] or [0.0]

    x_ticks = MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(epochs[0], epochs[-1])
    x_ticks = [t for t in x_ticks if epochs[0] <= t <= epochs[-1] and t == int(t)]
    y_ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(min(values), max(values))
    x = Axis(epochs[0], epochs[-1], LEFT, WIDTH - RIGHT)
    y = Axis(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)

    return dict(
        title=chart.title,
        note=chart.note,
        epochs=epochs,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        positions=[x.position(epoch) for epoch in epochs],
        x_ticks=x.ticks(x_ticks),
        y_ticks=y.ticks(y_ticks),
        series=[_draw_series(series, epochs, x, y) for series in chart.series],
    )


def _draw_series(series: Series, epochs: Sequence[int], x: Axis, y: Axis) -> dict:
    """Return the template's description of a curve.

    Epochs without a value are bridged; only a value that is not finite leaves a gap.
    """
    finite = {e: v for e, v in sorted(series.values.items()) if math.isfinite(v)}
    points = {e: f'{x.position(e):g} {y.position(v):g}' for e, v in finite.items()}
    has_dots = len(points) <= MAX_DOTS and not series.reference
    return dict(
        label=series.label,
        style='reference' if series.reference else f'color{series.color % COLORS}',
        path=_curve_path(series.values, points),
        dots=''.join(f'M{point}h.01' for point in points.values()) if has_dots else '',
        values=[finite.get(epoch) for epoch in epochs],
        first=short(next(iter(finite.values()), None)),
        last=short(series.values[max(series.values)]),
        missing=len(series.values) - len(finite),
    )


def _curve_path(epochs: Iterable[int], points: dict[int, str]) -> str:
    """Join the points of consecutive epochs; a gap begins a new piece."""
    path, command = [], 'M'
    for epoch in sorted(epochs):
        if epoch in points:
            path.append(command + points[epoch])
            command = 'L'
        else:
            command = 'M'
    return ''.join(path)


def draw_matrix(confusion: np.ndarray) -> dict:
    """Return the template's description of a confusion matrix (K, K), in units of cells.

    A cell's shade is the square root of its share of the row, so that rare errors stay visible.
    There is one path per shade; empty cells are left out.
    """
    size = len(confusion)
    share = confusion / confusion.sum(axis=1, keepdims=True).clip(1)
    shade = np.ceil(SHADES * np.sqrt(share)).astype(int)  # (K, K), 0 for empty cells
    diagonal = np.eye(size, dtype=bool)

    shades = []
    for kind, mask in (('right', diagonal), ('wrong', ~diagonal)):
        for level in range(1, SHADES + 1):
            cells = np.argwhere((shade == level) & mask)
            if len(cells):
                path = ''.join(f'M{column} {row}h1v1h-1z' for row, column in cells)
                shades.append(dict(kind=kind, opacity=round(level / SHADES, 2), path=path))

    step = next(step for step in (*MATRIX_STEPS, size) if size <= MAX_TICKS * step)
    return dict(size=size, shades=shades, ticks=list(range(0, size, step)))


def draw_embedding(points: np.ndarray, labels: np.ndarray) -> dict:
    """Return the template's description of an embedding, one path of dots per class.

    Args:
        points: (N, 2).
        labels: (N,) classes.

    Returns:
        dict with the SVG positions ``x`` and ``y`` of the points, ``index`` of each point's class
        in ``classes``, and for each class its label, path, size and color.
    """
    centered = points - (points.max(axis=0) + points.min(axis=0)) / 2
    scale = (PLANE / 2 - MARGIN) / max(float(np.abs(centered).max()), 1e-12)
    x, y = np.round(PLANE / 2 + scale * centered, 1).T

    present, index = np.unique(labels, return_inverse=True)
    classes = []
    for i, label in enumerate(present):
        chosen = index == i
        dots = ''.join(f'M{a:g} {b:g}h.01' for a, b in zip(x[chosen], y[chosen]))
        hue = round(GOLDEN_ANGLE * i % 360)  # degrees
        classes.append(
            dict(label=int(label), path=dots, hue=hue, tone=i % 3, count=int(chosen.sum()))
        )
    return dict(x=x.tolist(), y=y.tolist(), index=index.tolist(), size=PLANE, classes=classes)
