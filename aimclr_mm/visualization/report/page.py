"""Render the report as one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.progress import track

from aimclr_mm.utils.files import atomic_write
from aimclr_mm.version import __version__
from aimclr_mm.visualization.charts import training_charts
from aimclr_mm.visualization.embedding import read_class_names

from . import sections
from .collect import Run, read_run
from .environment import describe_environment
from .svg import draw_chart, short

FOLDER = Path(__file__).parent


def write_report(work_dir: str, out: str, ann_file: str | None = None) -> list[str]:
    """Write the report of a run to an HTML file, atomically.

    Args:
        work_dir, ann_file: see :func:`build_page`.
        out: HTML file to write.

    Returns:
        Notes on the parts left out.
    """
    html, notes = build_page(work_dir, ann_file)
    with atomic_write(out) as file:
        file.write(html)
    return notes


def build_page(work_dir: str, ann_file: str | None = None) -> tuple[str, list[str]]:
    """Return the HTML of a run's report, and notes on the parts left out.

    Args:
        work_dir: work directory of a training; results of its evaluation may be anywhere below it.
        ann_file: annotation file with the class names.

    Raises:
        FileNotFoundError: if the folder does not exist or contains nothing of a run.
        ValueError: if a file cannot be used; the message names it.
    """
    names = read_class_names(ann_file) if ann_file else []
    run = read_run(work_dir)
    return render(**_content(work_dir, run, names)), run.notes


def _content(work_dir: str, run: Run, names: list[str]) -> dict:
    """Return the variables of the template."""
    history = run.history
    environment, log = describe_environment(work_dir, max(history.runs.values(), default=None))
    charts = [draw_chart(chart) for chart in training_charts(history)]
    classifications = [
        sections.classification(path, run.scores[path], names)
        for path in sections.sort_paths(run.scores)
        if len(run.scores[path].labels)
    ]
    embeddings = [
        sections.embedding(path, run.features[path], names)
        for path in track(sections.sort_paths(run.features), 'Embeddings', disable=not run.features)
    ]
    return dict(
        name=os.path.basename(os.path.abspath(work_dir)),
        work_dir=work_dir,
        notes=run.notes,
        runs=sections.run_spans(history),
        tiles=sections.tiles(history, run.results),
        charts=charts,
        results=[sections.result_table(result) for result in run.results],
        classifications=classifications,
        embeddings=embeddings,
        configs=run.configs,
        environment=environment,
        log=log,
        commands=sections.commands(work_dir, run.configs),
        data=sections.script_data(charts, classifications, embeddings),
    )


def render(**content) -> str:
    """Fill the template, which escapes all content; only the page's own script may run."""
    jinja = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.policies['json.dumps_kwargs'] = dict(allow_nan=False, separators=(',', ':'))
    jinja.filters['short'] = short

    style = (FOLDER / 'style.css').read_text(encoding='utf-8')
    script = (FOLDER / 'script.js').read_text(encoding='utf-8')
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = jinja.get_template('page.html').render(
        style=Markup(style),
        script=Markup(script),
        digest=digest,
        version=__version__,
        written=f'{datetime.now():%Y-%m-%d %H:%M}',
        **content,
    )
    return html.encode('utf-8', 'replace').decode()  # names may contain lone surrogates
