"""Which curves are drawn of what was logged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .collect import History
from .figures import Chart, Series

STREAMS = ('joint', 'bone', 'motion', 'fused')
# a name such as joint.loss_info, knn/top1 or joint/knn/top1
NAME = re.compile(r'(?:(?P<stream>[^./]+)[./])??(?P<name>(?:knn|linear\w*|acc)/.+|[^./]+)')


def split_name(key: str) -> tuple[str, str]:
    """Stream (empty where there is none) and name of a logged value or a metric."""
    match = NAME.fullmatch(key)
    return (match['stream'] or '', match['name']) if match else ('', key)


def rank(stream: str) -> tuple:
    """Sorting key of streams: none, then those of the paper in its order, then others by name."""
    return stream != '', STREAMS.index(stream) if stream in STREAMS else len(STREAMS), stream


def in_order(streams: Iterable[str]) -> list[str]:
    """Streams, each once, in the order of :func:`rank`."""
    return sorted(set(streams), key=rank)


def charts(history: History) -> list[Chart]:
    """All curves for which something was logged, single- and multi-stream."""
    train, validation = columns(history.train), columns(history.validation)
    found = [
        loss_chart(train),
        *part_charts(train),
        *accuracy_charts(validation, train),
        Chart(
            'Mean cosine between embeddings',
            note='of different sequences; 1 means collapsed',
            include=(0.0, 1.0),
            series=stream_series(train, 'cosine'),
        ),
        Chart(
            'Distance between key and query weights',
            note='relative to the query weights',
            include=(0.0,),
            series=stream_series(train, 'key_distance'),
        ),
        Chart('Learning rate', include=(0.0,), series=stream_series(train, 'lr')),
    ]
    return [chart for chart in found if chart.series]


def columns(epochs: Mapping[int, Mapping[str, float]]) -> dict[tuple[str, str], dict[int, float]]:
    """(stream, name) -> epoch -> value."""
    table: dict[tuple[str, str], dict[int, float]] = {}
    for epoch in sorted(epochs):
        for key, value in epochs[epoch].items():
            table.setdefault(split_name(key), {})[epoch] = value
    return table


def stream_series(table: Mapping, name: str) -> list[Series]:
    """One curve a stream; a stream has the same colour in every chart."""
    streams = in_order(stream for stream, found in table if found == name)
    unnamed, color = ('all streams', 4) if len(streams) > 1 else (name.replace('_', ' '), 0)
    return [
        Series(
            stream or unnamed,
            table[stream, name],
            STREAMS.index(stream) if stream in STREAMS else color,
        )
        for stream in streams
    ]


def loss_chart(train: Mapping) -> Chart:
    """Total loss and, of a pre-training, the loss of equal similarities."""
    series = [
        Series(name, train['', name], 0, reference=name == 'chance')
        for name in ('loss', 'chance')
        if ('', name) in train
    ]
    note = 'chance: loss while all similarities are equal' if ('', 'chance') in train else ''
    return Chart('Loss', note=note, include=(0.0,), series=series)


def part_charts(train: Mapping) -> list[Chart]:
    """The terms of the loss: in one chart, or one chart a term where there are several streams."""
    train = {
        key: without_repeats(values) for key, values in train.items() if key[1].startswith('loss_')
    }
    parts = list(dict.fromkeys(name for _, name in train))
    if any(stream for stream, _ in train):
        return [
            Chart(f'Part of the loss: {name}', include=(0.0,), series=stream_series(train, name))
            for name in parts
        ]
    series = [Series(name, train['', name], i) for i, name in enumerate(parts)]
    return [Chart('Parts of the loss', include=(0.0,), series=series)] if len(parts) > 1 else []


def without_repeats(values: Mapping[int, float]) -> dict[int, float]:
    """The values up to the last change: mmengine repeats the last value of a term that is no longer computed."""
    epochs = sorted(values)
    while len(epochs) > 1 and values[epochs[-1]] == values[epochs[-2]]:
        epochs.pop()
    return {epoch: values[epoch] for epoch in epochs}


def accuracy_charts(validation: Mapping, train: Mapping) -> list[Chart]:
    """Top-1 accuracy of the validations, one chart an evaluator."""
    titles = {
        'knn': 'KNN accuracy',
        'linear': 'Accuracy of the linear classifier',
        'acc': 'Accuracy',
    }
    return [
        Chart(
            f'{title}, top-1 in %',
            include=(0.0,),
            series=accuracy_series(validation, train, evaluator),
        )
        for evaluator, title in titles.items()
    ]


def accuracy_series(validation: Mapping, train: Mapping, evaluator: str) -> list[Series]:
    """Curves of one evaluator: one a stream, or one a number of neighbours; of a classifier also that of training."""
    series = stream_series(validation, f'{evaluator}/top1')
    if evaluator == 'acc' and ('', 'top1_acc') in train:  # mmaction2's heads log it as a share
        shares = train['', 'top1_acc']
        series.append(
            Series('training batches', {epoch: 100 * share for epoch, share in shares.items()}, 1)
        )
    numbered = sorted(
        (int(match[1]), key)
        for key in validation
        if key[0] == '' and (match := re.fullmatch(rf'{evaluator}/top1_k(\d+)', key[1]))
    )
    if len(series) <= 1 and numbered:  # knn/top1 is that of the first k
        return [Series(f'k = {k}', validation[key], i) for i, (k, key) in enumerate(numbered)]
    return series
