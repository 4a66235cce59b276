"""Content of the report's sections, as variables of the template."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping

import numpy as np

from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.utils.training_log import History
from aimclr_mm.visualization.charts import sort_streams, split_name, stream_rank
from aimclr_mm.visualization.embedding import project

from .collect import Result
from .confusion import confused_pairs, confusion_matrix, per_class, stratified_subset
from .svg import draw_embedding, draw_matrix, short

MAX_POINTS = 2000  # of an embedding
MAX_CLASSES = 1000  # of a confusion matrix
MAX_TILES = 12
SEED = 0  # of the choice of points and of t-SNE


def sort_paths(paths: Iterable[str]) -> list[str]:
    """Sort paths by the streams in them, in the paper's order."""

    def key(path: str) -> list[tuple]:
        return [stream_rank(os.path.splitext(part)[0]) for part in path.split(os.sep)]

    return sorted(paths, key=key)


def run_spans(history: History) -> list[tuple[str, int, int]]:
    """Return name, first and last epoch of each run in the history."""
    spans: dict[str, list[int]] = {}
    for epoch, run in sorted(history.runs.items()):
        spans.setdefault(run, []).append(epoch)
    return [(run, epochs[0], epochs[-1]) for run, epochs in spans.items()]


def tiles(history: History, results: list[Result]) -> list[tuple[str, str, str]]:
    """Return (name, value, remark) of the numbers at the top of the page."""
    found = [*_training_tiles(history)]
    for result in results:
        accuracies = {
            key: value for key, value in result.metrics.items() if key.split('/')[-1] == 'top1'
        }
        fused = [key for key in accuracies if split_name(key)[0] in ('', 'fused')]
        found += [(key, f'{accuracies[key]:.1f} %', result.path) for key in fused or accuracies]
    return found[:MAX_TILES]


def _training_tiles(history: History) -> list[tuple[str, str, str]]:
    """Return the state of the training at its last epoch."""
    if not history.train:
        return []
    epoch = max(history.train)
    last = history.train[epoch]

    found = [('epochs', f'{epoch}', '')]
    if 'loss' in last:
        remark = f'chance {short(last["chance"])}' if 'chance' in last else ''
        found.append(('loss', short(last['loss']), remark))
    if 'cosine' in last:
        found.append(('mean cosine', short(round(last['cosine'], 3)), '1: collapsed'))
    return found


def result_table(result: Result) -> dict:
    """Return the metrics of one file, one row a metric, one column a stream.

    The spread over seeds (``<name>_std``) is added to the mean.
    """
    metrics = result.metrics
    rows: dict[str, dict[str, str]] = {}
    for key, value in metrics.items():
        if key.endswith('_std') and key.removesuffix('_std') in metrics:
            continue
        stream, name = split_name(key)
        rows.setdefault(name, {})[stream] = _metric_text(name, value, metrics.get(f'{key}_std'))

    streams = sort_streams(stream for row in rows.values() for stream in row)
    return dict(path=result.path, origin=result.origin, streams=streams, rows=rows)


def _metric_text(name: str, value: float, spread: float | None) -> str:
    if spread is not None:
        return f'{value:.2f} ± {spread:.2f}'
    return f'{value:.0f}' if name.endswith('epoch') else f'{value:.2f}'


def classification(path: str, scores: ScoreSet, names: list[str]) -> dict:
    """Return confusion matrix, per-class accuracy and most confused pairs of a score file."""
    if scores.scores.shape[1] > MAX_CLASSES:
        raise ValueError(
            f'{path!r} has scores of {scores.scores.shape[1]} classes; at most {MAX_CLASSES} can '
            'be drawn'
        )
    confusion = confusion_matrix(scores)
    texts = [class_text(label, names) for label in range(len(confusion))]
    pairs = [
        (texts[true], texts[predicted], count, share)
        for true, predicted, count, share in confused_pairs(confusion)
    ]
    return dict(
        path=path,
        top1=scores.accuracy(1),
        top5=scores.accuracy(5),
        sequences=len(scores.labels),
        matrix=draw_matrix(confusion),
        classes=per_class(confusion),
        texts=texts,
        pairs=pairs,
        data=dict(classes=texts, counts=confusion.tolist()),
    )


def class_text(label: int, names: list[str]) -> str:
    """Return a class by number, and by name if it is known."""
    return f'{label} {names[label]}' if label < len(names) else f'class {label}'


def embedding(path: str, features: FeatureSet, names: list[str]) -> dict:
    """Return the t-SNE of a feature file's queries, or the reason why there is none."""
    queries = np.flatnonzero(~features.gallery)
    chosen = queries[stratified_subset(features.labels[queries], MAX_POINTS, SEED)]
    try:
        points = project(features.features[chosen], seed=SEED)
    except ValueError as error:
        return dict(path=path, reason=str(error))

    drawing = draw_embedding(points, features.labels[chosen])
    for one in drawing['classes']:
        one['text'] = class_text(one['label'], names)
    data = dict(
        x=drawing.pop('x'),
        y=drawing.pop('y'),
        index=drawing.pop('index'),
        names=features.names[chosen].tolist(),
        classes=[one['text'] for one in drawing['classes']],
    )
    return dict(path=path, drawing=drawing, shown=len(chosen), sequences=len(queries), data=data)


def script_data(
    charts: Iterable[Mapping], classifications: Iterable[Mapping], embeddings: Iterable[Mapping]
) -> dict:
    """Return the data of the drawings for the page's script, in their order on the page."""
    lines = [
        dict(
            epochs=chart['epochs'],
            positions=chart['positions'],
            series=[dict(label=s['label'], values=s['values']) for s in chart['series']],
        )
        for chart in charts
    ]
    return dict(
        charts=lines,
        matrices=[one['data'] for one in classifications],
        embeddings=[one['data'] for one in embeddings if 'data' in one],
    )


def commands(work_dir: str, configs: Mapping[str, str]) -> dict[str, str]:
    """Return the command lines that create what may be missing, with file names if known."""
    config = os.path.join(work_dir, min(configs)) if configs else 'CONFIG'
    checkpoint = _last_checkpoint(work_dir) or 'CHECKPOINT'
    evaluation = os.path.join(work_dir, 'eval')
    result = os.path.join(evaluation, 'result.json')

    train = ['python', 'tools/train.py', config, '--work-dir', work_dir]
    test = ['python', 'tools/test.py', config, checkpoint, '--out', result, '--dump', evaluation]
    return dict(train=shlex.join(train), test=shlex.join(test))


def _last_checkpoint(work_dir: str) -> str | None:
    """Return the path of the checkpoint that mmengine wrote last, if it exists in the folder."""
    pointer = os.path.join(work_dir, 'last_checkpoint')
    if not os.path.isfile(pointer):
        return None
    with open(pointer, encoding='utf-8', errors='replace') as file:
        name = os.path.basename(file.read(4096).strip())
    path = os.path.join(work_dir, name)
    return path if os.path.isfile(path) else None
