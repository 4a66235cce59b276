"""What pictures have in common, and the picture of a training."""

from __future__ import annotations

import glob
import json
import os

from matplotlib.figure import Figure

from aimclr_mm.utils.files import atomic_write

FORMATS = ('.png', '.svg', '.pdf')
# the ten colours of Petroff, "Accessible Color Sequences for Data Visualization" (arXiv 2107.02270), which people with
# a colour vision deficiency can tell apart
PALETTE = (
    '#3f90da',
    '#ffa90e',
    '#bd1f01',
    '#94a4a2',
    '#832db6',
    '#a96b59',
    '#e76300',
    '#b9ac70',
    '#717581',
    '#92dadd',
)


def read_log(path: str) -> tuple[list[dict], str]:
    """Records of a ``scalars.json``, and a sentence about damaged lines, empty if there are none.

    A run that is killed while it logs leaves half a line behind; such lines are left out.
    """
    records, damaged = [], []
    with open(path, encoding='utf-8', errors='replace') as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                records.append(record)
            else:
                damaged.append(number)
    more = f' and {len(damaged) - 3} more' if len(damaged) > 3 else ''
    lines = f'damaged and left out: line{"s" * (len(damaged) > 1)} {", ".join(map(str, damaged[:3]))}{more}'
    return records, f'{path}, {lines}' if damaged else ''


def read_scalars(work_dir: str) -> list[dict]:
    """What mmengine logged in a work directory, all runs of it in the order of time.

    A line that was cut short, as a killed run leaves it, is passed over.

    Raises:
        FileNotFoundError: if nothing was logged there.
    """
    files = sorted(glob.glob(os.path.join(work_dir, '*', 'vis_data', 'scalars.json')))
    if not files:
        raise FileNotFoundError(
            f'{work_dir!r} holds no vis_data/scalars.json: it is no work directory of a training'
        )
    return [record for path in files for record in read_log(path)[0]]


def plot_training(records: list[dict], path: str) -> None:
    """Loss against chance, mean cosine between embeddings and KNN accuracy over epochs.

    Args:
        records: see :func:`read_scalars`.
        path: picture to write, see :func:`save_figure`.
    """
    train = [r for r in records if 'loss' in r and 'chance' in r]
    validation = [r for r in records if 'knn/top1' in r]
    last = {}
    for record in train:  # the last record of an epoch stands for it
        last[record['epoch']] = record
    epochs = sorted(last)
    figure = Figure(figsize=(13, 3.6), layout='constrained')
    axes = figure.subplots(1, 3)
    axes[0].plot(epochs, [last[e]['loss'] for e in epochs], label='loss')
    axes[0].plot(epochs, [last[e]['chance'] for e in epochs], '--', color='grey', label='chance')
    axes[0].set(title='Loss', xlabel='epoch', ylim=(0, None))
    axes[0].legend()
    axes[1].plot(epochs, [last[e]['cosine'] for e in epochs])
    axes[1].set(
        title='Mean cosine between embeddings (1: collapsed)', xlabel='epoch', ylim=(-0.1, 1.05)
    )
    axes[2].plot([r['step'] for r in validation], [r['knn/top1'] for r in validation], 'o-')
    axes[2].set(title='KNN accuracy, %', xlabel='epoch')
    for axis in axes:
        axis.grid(alpha=0.3)
    save_figure(figure, path)


def picture_format(path: str) -> str:
    """Format that the ending of a picture's name stands for; raises ValueError for another ending than ``FORMATS``."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise ValueError(
            f'{path!r}: a picture is a {", ".join(FORMATS[:-1])} or {FORMATS[-1]} file'
        )
    return ending[1:]


def save_figure(figure: Figure, path: str) -> None:
    """Writes a picture in the format of its ending, as a whole or not at all, with all that stands outside the axes."""
    name = picture_format(path)
    with atomic_write(path, 'wb') as file:
        figure.savefig(file, format=name, dpi=150, bbox_inches='tight')
