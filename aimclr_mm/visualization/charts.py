"""Charts of a training history as data, which curves.py and report/svg.py draw."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aimclr_mm.utils.training_log import History

STREAMS = ('joint', 'bone', 'motion', 'fused')
SINGLE_COLOR, TOTAL_COLOR = 0, 4  # of a curve without stream: alone, or among those of streams
EVALUATORS = {
    'knn': 'KNN accuracy',
    'linear': 'Accuracy of the linear classifier',
    'acc': 'Accuracy',
}

# a logged name such as joint.loss_info, knn/top1 or joint/knn/top1
NAME = re.compile(r'(?:(?P<stream>[^./]+)[./])??(?P<name>(?:knn|linear\w*|acc)/.+|[^./]+)')

Values = dict[int, float]  # epoch -> value
Table = Mapping[tuple[str, str], Values]  # (stream, name) -> epoch -> value


@dataclass
class Series:
    """One curve.

    Args:
        label: its name in the legend.
        values: epoch -> value; a value that is not finite interrupts the curve.
        color: index of its color.
        reference: whether it is a reference level, drawn as a dashed gray line.
    """

    label: str
    values: Values
    color: int
    reference: bool = False


@dataclass
class Chart:
    """Curves over epochs with common axes.

    Args:
        title: text above the chart.
        note: how to read it.
        include: values that the vertical axis always shows.
        series: the curves.
    """

    title: str
    note: str = ''
    include: tuple[float, ...] = ()
    series: list[Series] = field(default_factory=list)


def training_charts(history: History) -> list[Chart]:
    """Return a chart for everything that was logged, of one stream or several."""
    train = _by_stream(history.train)
    validation = _by_stream(history.validation)
    found = [
        _loss_chart(train),
        *_loss_term_charts(train),
        *(_accuracy_chart(validation, train, evaluator) for evaluator in EVALUATORS),
        Chart(
            'Mean cosine between embeddings',
            note='of different sequences; 1: collapsed',
            include=(0.0, 1.0),
            series=_stream_series(train, 'cosine'),
        ),
        Chart(
            'Distance between key and query weights',
            note='relative to the query weights',
            include=(0.0,),
            series=_stream_series(train, 'key_distance'),
        ),
        Chart('Learning rate', include=(0.0,), series=_stream_series(train, 'lr')),
    ]
    return [chart for chart in found if chart.series]


def split_name(key: str) -> tuple[str, str]:
    """Split a logged name into stream (empty if there is none) and name."""
    match = NAME.fullmatch(key)
    return (match['stream'] or '', match['name']) if match else ('', key)


def stream_rank(stream: str) -> tuple:
    """Return a sorting key: no stream, then those of the paper in its order, then others."""
    known = STREAMS.index(stream) if stream in STREAMS else len(STREAMS)
    return stream != '', known, stream


def sort_streams(streams: Iterable[str]) -> list[str]:
    """Return the distinct streams in the order of :func:`stream_rank`."""
    return sorted(set(streams), key=stream_rank)


def _by_stream(epochs: Mapping[int, Mapping[str, float]]) -> dict[tuple[str, str], Values]:
    """Turn epoch -> logged name -> value into (stream, name) -> epoch -> value."""
    table: dict[tuple[str, str], Values] = {}
    for epoch in sorted(epochs):
        for key, value in epochs[epoch].items():
            table.setdefault(split_name(key), {})[epoch] = value
    return table


def _stream_series(table: Table, name: str) -> list[Series]:
    """Return one curve per stream; a stream has the same color in every chart."""
    streams = sort_streams(stream for stream, found in table if found == name)
    if len(streams) > 1:
        unnamed, color = 'all streams', TOTAL_COLOR
    else:
        unnamed, color = name.replace('_', ' '), SINGLE_COLOR

    return [
        Series(
            label=stream or unnamed,
            values=table[stream, name],
            color=STREAMS.index(stream) if stream in STREAMS else color,
        )
        for stream in streams
    ]


def _loss_chart(train: Table) -> Chart:
    """Return the total loss and, for a pre-training, its chance level."""
    series = [
        Series(name, train['', name], SINGLE_COLOR, reference=name == 'chance')
        for name in ('loss', 'chance')
        if ('', name) in train
    ]
    note = 'chance: loss when all similarities are equal' if ('', 'chance') in train else ''
    return Chart('Loss', note=note, include=(0.0,), series=series)


def _loss_term_charts(train: Table) -> list[Chart]:
    """Return the terms of the loss: in one chart, or in one chart per term for several streams."""
    terms = {
        key: _drop_repeats(values) for key, values in train.items() if key[1].startswith('loss_')
    }
    names = list(dict.fromkeys(name for _, name in terms))

    if any(stream for stream, _ in terms):
        return [
            Chart(f'Loss term: {name}', include=(0.0,), series=_stream_series(terms, name))
            for name in names
        ]
    if len(names) > 1:
        series = [Series(name, terms['', name], color) for color, name in enumerate(names)]
        return [Chart('Loss terms', include=(0.0,), series=series)]
    return []


def _drop_repeats(values: Values) -> Values:
    """Drop repeats at the end: mmengine repeats the last value of a term no longer computed."""
    epochs = sorted(values)
    while len(epochs) > 1 and values[epochs[-1]] == values[epochs[-2]]:
        epochs.pop()
    return {epoch: values[epoch] for epoch in epochs}


def _accuracy_chart(validation: Table, train: Table, evaluator: str) -> Chart:
    """Return the top-1 accuracies of one evaluator over the validations."""
    series = _stream_series(validation, f'{evaluator}/top1')
    if len(series) <= 1:  # knn/top1 repeats the first of these
        series = _neighbor_series(validation, evaluator) or series

    if evaluator == 'acc' and ('', 'top1_acc') in train:  # logged by mmaction2's heads, in 0 to 1
        shares = train['', 'top1_acc']
        percent = {epoch: 100 * share for epoch, share in shares.items()}
        series.append(Series('training batches', percent, color=1))

    return Chart(f'{EVALUATORS[evaluator]}, top-1 in %', include=(0.0,), series=series)


def _neighbor_series(validation: Table, evaluator: str) -> list[Series]:
    """Return one curve per number of neighbors k."""
    found = {}
    for stream, name in validation:
        match = re.fullmatch(rf'{evaluator}/top1_k(\d+)', name)
        if match and not stream:
            found[int(match[1])] = validation[stream, name]
    return [Series(f'k = {k}', found[k], color) for color, k in enumerate(sorted(found))]
