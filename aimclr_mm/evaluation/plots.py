"""Pictures of a training and of an embedding."""
from __future__ import annotations

import glob
import json
import os

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402


def read_scalars(work_dir: str) -> list[dict]:
    """What mmengine logged in a work directory, all runs of it in the order of time.

    Raises:
        FileNotFoundError: if nothing was logged there.
    """
    files = sorted(glob.glob(os.path.join(work_dir, '*', 'vis_data', 'scalars.json')))
    if not files:
        raise FileNotFoundError(f'{work_dir!r} holds no vis_data/scalars.json: it is no work directory of a training')
    records = []
    for path in files:
        with open(path, encoding='utf-8') as file:
            records += [json.loads(line) for line in file if line.strip()]
    return records


def plot_training(records: list[dict], path: str) -> None:
    """Loss against chance, mean cosine between embeddings and KNN accuracy over epochs.

    Args:
        records: see :func:`read_scalars`.
        path: picture to write.
    """
    train = [r for r in records if 'loss' in r and 'chance' in r]
    validation = [r for r in records if 'knn/top1' in r]
    last = {}
    for record in train:                                    # the last record of an epoch stands for it
        last[record['epoch']] = record
    epochs = sorted(last)
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), constrained_layout=True)
    axes[0].plot(epochs, [last[e]['loss'] for e in epochs], label='loss')
    axes[0].plot(epochs, [last[e]['chance'] for e in epochs], '--', color='grey', label='chance')
    axes[0].set(title='Loss', xlabel='epoch', ylim=(0, None))
    axes[0].legend()
    axes[1].plot(epochs, [last[e]['cosine'] for e in epochs])
    axes[1].set(title='Mean cosine between embeddings (1: collapsed)', xlabel='epoch', ylim=(-0.1, 1.05))
    axes[2].plot([r['step'] for r in validation], [r['knn/top1'] for r in validation], 'o-')
    axes[2].set(title='KNN accuracy, %', xlabel='epoch')
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_embedding(features: np.ndarray, labels: np.ndarray, path: str, seed: int = 0) -> None:
    """t-SNE of features (N, C), cosine distance, one colour a class.

    Args:
        features: (N, C).
        labels: (N,) classes.
        path: picture to write.
        seed: of t-SNE.
    """
    from sklearn.manifold import TSNE
    perplexity = min(30.0, (len(features) - 1) / 3)
    places = TSNE(metric='cosine', init='random', perplexity=perplexity, random_state=seed).fit_transform(features)
    figure, axis = plt.subplots(figsize=(7, 6), constrained_layout=True)
    classes = np.unique(labels)
    colors = plt.get_cmap('turbo')(np.linspace(0.03, 0.97, len(classes)))
    for color, label in zip(colors, classes):
        axis.scatter(*places[labels == label].T, s=14, color=color, label=str(label))
    axis.set(title='t-SNE of the test split, one colour a class', xticks=[], yticks=[])
    if len(classes) <= 60:
        axis.legend(title='class', ncols=1 + len(classes) // 20, bbox_to_anchor=(1.01, 1), loc='upper left', fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
