"""Embeddings in the plane, and how well their clusters match the classes (Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from aimclr_mm.datasets.annotations import load_annotations

from .figures import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = 'os^Dv*P<X>ph'
CLASSES_PER_MARKER = 5
LEGEND_ROWS = 20
MIN_SEQUENCES, MIN_FEATURES = 4, 2  # for a projection


def choose_classes(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw classes at random; the draw depends only on the seed and on which classes exist.

    Args:
        labels: (N,) classes of the sequences.
        n: how many classes; all of them if there are fewer.
        seed: seed of the draw, 0 to 2**32 - 1.

    Returns:
        At most n classes in ascending order; a smaller n gives a subset of a larger one.
    """
    if n < 1:
        raise ValueError(f'{n} classes cannot be drawn; at least 1 is needed')
    # RandomState, as its stream is the same in every NumPy version
    return np.sort(np.random.RandomState(seed).permutation(np.unique(labels))[:n])


def check_classes(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return the distinct classes in ascending order.

    Raises:
        ValueError: for a class without sequences.
    """
    known = np.unique(labels)
    missing = [c for c in classes if c not in known]
    if missing:
        raise ValueError(
            f'no sequence is of class {missing[0]}; there are {", ".join(map(str, known))}'
        )
    return np.unique(classes)


def read_class_names(path: str) -> list[str]:
    """Return the class names by label from the metainfo of an annotation file.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not an annotation file or contains no names.
    """
    names = load_annotations(path)['metainfo'].get('classes')
    is_list = isinstance(names, (list, tuple)) and len(names) > 0
    if not is_list or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{path!r} contains no class names (a list of text, 'classes' in 'metainfo')"
        )
    return list(names)


def nmi(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Return the normalized mutual information between classes and k-means clusters.

    The L2-normalized features are clustered into as many clusters as there are classes, best of ten
    starts. Mutual information is divided by the mean of both entropies, scikit-learn's default. The
    paper ("Qualitative Results") specifies neither.

    Args:
        features: (N, C).
        labels: (N,) classes, at least two different ones.
        seed: seed of k-means.

    Returns:
        0 (independent) to 1 (the same partition).
    """
    from sklearn.cluster import KMeans  # here: slow imports
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.preprocessing import normalize

    classes = len(np.unique(labels))
    if classes < 2:
        raise ValueError(
            f'{len(labels)} sequences of {classes} class: NMI needs at least two classes'
        )
    clusters = KMeans(classes, n_init=10, random_state=seed).fit_predict(normalize(features))
    return float(normalized_mutual_info_score(labels, clusters))


def projection_settings(method: str, count: int, seed: int) -> dict:
    """Return the arguments of scikit-learn's ``TSNE`` or of umap-learn's ``UMAP``.

    Args:
        method: ``tsne`` or ``umap``.
        count: number of sequences, which limits perplexity and number of neighbors.
        seed: seed of the method.
    """
    settings = dict(metric='cosine', random_state=seed)
    if method == 'tsne':
        return dict(settings, init='pca', perplexity=min(30.0, (count - 1) / 3))
    if method == 'umap':
        return dict(settings, n_neighbors=min(15, count - 1), min_dist=0.1)
    raise ValueError(f'unknown method {method!r}; known are tsne and umap')


def project(features: np.ndarray, method: str = 'tsne', seed: int = 0) -> np.ndarray:
    """Project features (N, C) into the plane by cosine distance, (N, 2).

    Settings are those of :func:`projection_settings`.

    Raises:
        ImportError: if umap-learn is needed and not installed.
        ValueError: for too few sequences or channels, or if all embeddings are parallel.
    """
    from sklearn.manifold import TSNE  # here: slow imports
    from sklearn.preprocessing import normalize

    settings = projection_settings(method, len(features), seed)
    features = normalize(features)
    sequences, channels = features.shape
    if sequences < MIN_SEQUENCES or channels < MIN_FEATURES or not np.ptp(features, axis=0).any():
        raise ValueError(
            f'{sequences} sequences with {channels} features cannot be drawn; at least '
            f'{MIN_SEQUENCES} sequences, not all of the same direction, and {MIN_FEATURES} '
            'features are needed'
        )

    if method == 'tsne':
        return TSNE(**settings).fit_transform(features)
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            '--method umap needs umap-learn: pip install umap-learn, or use --method tsne'
        ) from error
    return UMAP(**settings).fit_transform(features)


def draw_embedding(
    points: np.ndarray, labels: np.ndarray, names: Mapping[int, str], title: str
) -> Figure:
    """Draw the points of each class, with a legend to their right.

    Args:
        points: (N, 2), see :func:`project`.
        labels: (N,) classes.
        names: class -> text in the legend, in its order.
        title: text above the picture.
    """
    from matplotlib.figure import Figure  # here: a slow import

    figure = Figure(figsize=(6.5, 6.5))
    axis = figure.add_subplot()
    size = float(np.clip(8000 / len(points), 6, 40))  # area of a marker, points squared
    for number, (label, name) in enumerate(names.items()):
        axis.scatter(
            *points[labels == label].T,
            s=size,
            linewidths=0,
            label=name,
            color=PALETTE[number % len(PALETTE)],
            marker=MARKERS[number // CLASSES_PER_MARKER % len(MARKERS)],
        )

    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=15)
    axis.set_aspect('equal', adjustable='datalim')
    _add_legend(axis, columns=-(-len(names) // LEGEND_ROWS))
    return figure


def _add_legend(axis: Axes, columns: int) -> None:
    legend = axis.legend(
        loc='upper left',
        bbox_to_anchor=(1.01, 1),
        ncols=columns,
        fontsize=13,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.2,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([60])
