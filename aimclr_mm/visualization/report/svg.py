"""Geometry of the page's drawings: numbers and SVG path data, no text of SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from aimclr_mm.visualization.charts import Chart, Series

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = (
    400,
    230,
    48,
    12,
    10,
    34,
)  # of a chart and its margins, in SVG units
FEW = 40  # points up to which a curve shows each of them
LEVELS = 12  # shades of the confusion matrix
PLANE, MARGIN = 480, 8  # side of the embedding's picture and space around the points, in SVG units


class Axis:
    """Maps values to a range of SVG units.

    Args:
        low, high: values at the ends.
        start, end: SVG units of the ends.
    """

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        if low == high:
            low, high = low - 0.5, high + 0.5
        self.low, self.start, self.slope = low, start, (end - start) / (high - low)

    def place(self, value: float) -> float:
        """SVG unit of a value, rounded to a tenth."""
        return round(self.start + (value - self.low) * self.slope, 1)

    def ticks(self, values: Sequence[float]) -> list[tuple[float, str]]:
        """(SVG unit, text) of values."""
        return [(self.place(value), f'{value:.6g}') for value in values]


def short(value: float | None) -> str:
    """A measured number with four digits; a dash for what is missing or not finite."""
    return f'{value:.4g}'.replace('-', '−') if value is not None and math.isfinite(value) else '–'


def draw_chart(chart: Chart) -> dict:
    """Paths, ticks and texts of a chart; ``epochs`` and the curves' ``values`` (None: a gap) are what is drawn."""
    epochs = sorted(set().union(*(series.values for series in chart.series)))
    finite = [v for series in chart.series for v in series.values.values() if math.isfinite(v)]
    shown = [*finite, *chart.include] or [0.0]
    y_ticks = [
        float(tick)
        for tick in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(min(shown), max(shown))
    ]
    x_ticks = MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(epochs[0], epochs[-1])
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
        places=[x.place(epoch) for epoch in epochs],
        x_ticks=x.ticks([t for t in x_ticks if epochs[0] <= t <= epochs[-1] and t == int(t)]),
        y_ticks=y.ticks(y_ticks),
        series=[draw_series(series, epochs, x, y) for series in chart.series],
    )


def draw_series(series: Series, epochs: Sequence[int], x: Axis, y: Axis) -> dict:
    """One curve: values on the chart's epochs, path data, the last value and how many values are not finite.

    Epochs at which nothing was logged are bridged; only a value that is not finite leaves a gap.
    """
    path, dots, pen = [], [], 'M'
    for epoch in sorted(series.values):
        if not math.isfinite(series.values[epoch]):
            pen = 'M'
            continue
        place = f'{x.place(epoch):g} {y.place(series.values[epoch]):g}'
        path.append(f'{pen}{place}')
        dots.append(f'M{place}h.01')
        pen = 'L'
    finite = [value for value in series.values.values() if math.isfinite(value)]
    values = [series.values.get(epoch) for epoch in epochs]
    return dict(
        label=series.label,
        style='reference' if series.reference else f'color{series.color % 6}',
        path=''.join(path),
        dots=''.join(dots) if len(dots) <= FEW and not series.reference else '',
        values=[None if value is None or not math.isfinite(value) else value for value in values],
        first=short(finite[0] if finite else None),
        last=short(series.values[max(series.values)]),
        missing=len(series.values) - len(finite),
    )


def draw_matrix(confusion: np.ndarray) -> dict:
    """A confusion matrix (K, K) as one path for each shade, in units of cells; empty cells are left out.

    A cell's shade is the root of its share of the true class's sequences, so that rare errors stay visible.
    """
    share = confusion / confusion.sum(axis=1, keepdims=True).clip(1)
    shade = np.ceil(LEVELS * np.sqrt(share)).astype(int)
    shades = []
    for kind, mask in (
        ('right', np.eye(len(confusion), dtype=bool)),
        ('wrong', ~np.eye(len(confusion), dtype=bool)),
    ):
        for level in range(1, LEVELS + 1):
            rows, columns = np.nonzero((shade == level) & mask)
            if len(rows):
                shades.append(
                    dict(
                        kind=kind,
                        opacity=round(level / LEVELS, 2),
                        path=''.join(f'M{c} {r}h1v1h-1z' for r, c in zip(rows, columns)),
                    )
                )
    step = next(
        step for step in (1, 2, 5, 10, 20, 50, 100, len(confusion)) if len(confusion) <= 13 * step
    )
    return dict(size=len(confusion), shades=shades, ticks=list(range(0, len(confusion), step)))


def draw_embedding(places: np.ndarray, labels: np.ndarray) -> dict:
    """Points of an embedding as one path of dots a class.

    Args:
        places: (N, 2).
        labels: (N,) classes.

    Returns:
        dict with the SVG places ``x`` and ``y`` of the points, ``index`` of each point's class in ``classes``, and
        per class its path and colour (hue in degrees; neighbouring numbers are far apart).
    """
    centered = places - (places.max(axis=0) + places.min(axis=0)) / 2
    scale = (PLANE / 2 - MARGIN) / max(float(np.abs(centered).max()), 1e-12)
    x, y = np.round(PLANE / 2 + scale * centered, 1).T
    classes, index = np.unique(labels, return_inverse=True)
    paths = [
        ''.join(f'M{a:g} {b:g}h.01' for a, b in zip(x[index == i], y[index == i]))
        for i in range(len(classes))
    ]
    return dict(
        x=x.tolist(),
        y=y.tolist(),
        index=index.tolist(),
        size=PLANE,
        classes=[
            dict(
                label=int(label),
                path=path,
                hue=round(137.508 * i % 360),
                tone=i % 3,
                count=int((index == i).sum()),
            )
            for i, (label, path) in enumerate(zip(classes, paths))
        ],
    )
