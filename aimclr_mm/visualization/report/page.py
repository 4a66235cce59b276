"""Puts the page together."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.progress import track

from aimclr_mm.evaluation.results import FeatureSet, ScoreSet
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.training_log import History, log_files, read_history
from aimclr_mm.version import __version__
from aimclr_mm.visualization.charts import sort_streams, split_name, stream_rank, training_charts
from aimclr_mm.visualization.embedding import project, read_class_names

from . import collect
from .confusion import confused_pairs, confusion_matrix, per_class, stratified
from .svg import draw_chart, draw_embedding, draw_matrix, short

FOLDER = Path(__file__).parent
POINTS = 2000  # of an embedding at most
SEED = 0  # of the choice of points and of t-SNE
MAX_CLASSES = 1000  # of a confusion matrix


def write_report(work_dir: str, out: str, ann_file: str | None = None) -> list[str]:
    """Writes the page about a run, as a whole or not at all.

    Args:
        work_dir, ann_file: see :func:`build_page`.
        out: HTML file to write.

    Returns:
        Notes about what was left out.
    """
    html, notes = build_page(work_dir, ann_file)
    with atomic_write(out) as file:
        file.write(html)
    return notes


def build_page(work_dir: str, ann_file: str | None = None) -> tuple[str, list[str]]:
    """The page about a run, and notes about what was left out.

    Args:
        work_dir: work directory of a training, with the results of its evaluation anywhere below it.
        ann_file: annotation file that tells the names of the classes.

    Raises:
        FileNotFoundError: if there is no such folder or nothing of a run in it.
        ValueError: if a file cannot be used; the message names it.
    """
    if not os.path.isdir(work_dir):
        raise FileNotFoundError(f'work directory {work_dir!r} does not exist')
    names = read_class_names(ann_file) if ann_file else []
    history = read_history(work_dir) if log_files(work_dir) else History()
    results, result_notes = collect.read_results(work_dir)
    features, scores, array_notes = collect.read_arrays(work_dir)
    if not (history.train or history.validation or history.notes or results or features or scores):
        raise FileNotFoundError(
            f'{work_dir!r} holds no log (<time>/vis_data/scalars.json), no metrics (*.json) and no '
            'features or scores (*.npz): it is no work directory of a training or an evaluation'
        )
    configs = collect.read_configs(work_dir)
    environment, log = collect.environment(work_dir, max(history.runs.values(), default=None))
    charts = [draw_chart(chart) for chart in training_charts(history)]
    classifications = [
        classification(path, scores[path], names)
        for path in in_order(scores)
        if len(scores[path].labels)
    ]
    embeddings = [
        embedding(path, features[path], names)
        for path in track(in_order(features), 'Embeddings', disable=not features)
    ]
    notes = [*history.notes, *result_notes, *array_notes]
    html = render(
        name=os.path.basename(os.path.abspath(work_dir)),
        work_dir=work_dir,
        notes=notes,
        runs=run_spans(history),
        tiles=tiles(history, results),
        charts=charts,
        results=[result_table(result) for result in results],
        classifications=classifications,
        embeddings=embeddings,
        configs=configs,
        environment=environment,
        log=log,
        commands=commands(work_dir, configs),
        data=dict(
            charts=[chart_data(chart) for chart in charts],
            matrices=[one['data'] for one in classifications],
            embeddings=[one['data'] for one in embeddings if 'data' in one],
        ),
    )
    return html, notes


def render(**content) -> str:
    """The page's HTML. What comes from files is escaped by the template; only this page's own script may run."""
    loader = FileSystemLoader(FOLDER)
    jinja = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.policies['json.dumps_kwargs'] = dict(allow_nan=False, separators=(',', ':'))
    jinja.filters['short'] = short
    style, script = (
        (FOLDER / name).read_text(encoding='utf-8') for name in ('style.css', 'script.js')
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = jinja.get_template('page.html').render(
        style=Markup(style),
        script=Markup(script),
        digest=digest,
        version=__version__,
        written=f'{datetime.now():%Y-%m-%d %H:%M}',
        **content,
    )
    return html.encode(
        'utf-8', 'replace'
    ).decode()  # half of a surrogate pair in a name cannot be written


def in_order(paths: Iterable[str]) -> list[str]:
    """Paths by the streams in them, in the paper's order."""
    return sorted(
        paths,
        key=lambda path: [stream_rank(os.path.splitext(part)[0]) for part in path.split(os.sep)],
    )


def class_text(label: int, names: list[str]) -> str:
    """A class by number, and by name where it is known."""
    return f'{label} {names[label]}' if label < len(names) else f'class {label}'


def commands(work_dir: str, configs: Mapping[str, str]) -> dict[str, str]:
    """Command lines that make what may be missing, with the names of files as far as they are known."""
    config = os.path.join(work_dir, min(configs)) if configs else 'CONFIG'
    pointer, checkpoint = os.path.join(work_dir, 'last_checkpoint'), 'CHECKPOINT'
    if os.path.isfile(pointer):
        with open(pointer, encoding='utf-8', errors='replace') as file:
            found = os.path.join(work_dir, os.path.basename(file.read(4096).strip()))
        checkpoint = found if os.path.isfile(found) else checkpoint
    config, checkpoint, folder = map(shlex.quote, (config, checkpoint, work_dir))
    evaluation = shlex.quote(os.path.join(work_dir, 'eval'))
    result = shlex.quote(os.path.join(work_dir, 'eval', 'result.json'))
    return dict(
        train=f'python tools/train.py {config} --work-dir {folder}',
        test=f'python tools/test.py {config} {checkpoint} --out {result} --dump {evaluation}',
    )


def run_spans(history: History) -> list[tuple[str, int, int]]:
    """Name, first and last epoch of each run whose log is shown."""
    spans: dict[str, list[int]] = {}
    for epoch, run in sorted(history.runs.items()):
        spans.setdefault(run, []).append(epoch)
    return [(run, epochs[0], epochs[-1]) for run, epochs in spans.items()]


def tiles(history: History, results: list[collect.Result]) -> list[tuple[str, str, str]]:
    """(name, value, remark) of the figures at the top: the state of the training and the main metrics."""
    found = []
    if history.train:
        epoch = max(history.train)
        last = history.train[epoch]
        found.append(('epochs', f'{epoch}', ''))
        if 'loss' in last:
            found.append(
                (
                    'loss',
                    short(last['loss']),
                    f'chance {short(last["chance"])}' if 'chance' in last else '',
                )
            )
        if 'cosine' in last:
            found.append(('mean cosine', short(round(last['cosine'], 3)), '1 means collapsed'))
    for result in results:
        accuracies = {
            key: value for key, value in result.metrics.items() if key.split('/')[-1] == 'top1'
        }
        main = [key for key in accuracies if split_name(key)[0] in ('', 'fused')] or accuracies
        found += [(key, f'{accuracies[key]:.1f} %', result.path) for key in main]
    return found[:12]


def result_table(result: collect.Result) -> dict:
    """Metrics of one file: a row a metric, a column a stream; the spread over seeds stands beside the mean."""
    table: dict[str, dict[str, str]] = {}
    for key, value in result.metrics.items():
        mean, spread = key.removesuffix('_std'), result.metrics.get(f'{key}_std')
        if mean != key and mean in result.metrics:
            continue
        stream, name = split_name(key)
        whole = name.endswith('epoch') and spread is None
        text = (
            f'{value:.0f}'
            if whole
            else f'{value:.2f}'
            if spread is None
            else f'{value:.2f} ± {spread:.2f}'
        )
        table.setdefault(name, {})[stream] = text
    streams = sort_streams(stream for row in table.values() for stream in row)
    return dict(path=result.path, about=result.about, streams=streams, rows=table)


def classification(path: str, scores: ScoreSet, names: list[str]) -> dict:
    """Confusion matrix, per-class accuracy and most confused pairs of a score file."""
    if scores.scores.shape[1] > MAX_CLASSES:
        raise ValueError(
            f'{path!r} has scores of {scores.scores.shape[1]} classes; at most {MAX_CLASSES} can be drawn'
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


def embedding(path: str, features: FeatureSet, names: list[str]) -> dict:
    """t-SNE of the queries of a feature file, or the reason why there is none."""
    queries = np.flatnonzero(~features.gallery)
    chosen = queries[stratified(features.labels[queries], POINTS, SEED)]
    try:
        places = project(features.features[chosen], seed=SEED)
    except ValueError as error:
        return dict(path=path, reason=str(error))
    drawing = draw_embedding(places, features.labels[chosen])
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


def chart_data(chart: Mapping) -> dict:
    """What the page's script needs of a chart."""
    return dict(
        epochs=chart['epochs'],
        places=chart['places'],
        series=[dict(label=series['label'], values=series['values']) for series in chart['series']],
    )
