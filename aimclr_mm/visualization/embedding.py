"""Embeddings in the plane, and how well their clusters are the classes (Figure 2 and "Qualitative Results")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.metrics import normalized_mutual_info_score
from sklearn.preprocessing import normalize

from aimclr_mm.datasets.annotations import load_annotations

from .figures import PALETTE

MARKERS = 'os^Dv*P<X>ph'  # the next one after every five classes
LEGEND_ROWS = 20


def choose_classes(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Classes to draw, at random; they depend on the seed and on which classes there are, on nothing else.

    Args:
        labels: (N,) classes of the sequences.
        n: how many; all of them where there are fewer.
        seed: of the choice, 0 to 2**32 - 1.

    Returns:
        (at most n,) classes in ascending order. Those of a smaller n are among those of a larger one.
    """
    if n < 1:
        raise ValueError(f'{n} classes cannot be drawn; at least 1 is needed')
    # RandomState, as its stream is the same in every NumPy version
    return np.sort(np.random.RandomState(seed).permutation(np.unique(labels))[:n])


def check_classes(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """The classes in ascending order, each once; raises ValueError for one that no sequence has."""
    known = np.unique(labels)
    missing = [c for c in classes if c not in known]
    if missing:
        raise ValueError(
            f'no sequence is of class {missing[0]}; there are {", ".join(map(str, known))}'
        )
    return np.unique(classes)


def read_class_names(path: str) -> list[str]:
    """Names of the classes by label, from the metainfo of an annotation file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no annotation file or tells no names.
    """
    names = load_annotations(path)['metainfo'].get('classes')
    if (
        not isinstance(names, (list, tuple))
        or not names
        or not all(isinstance(name, str) for name in names)
    ):
        raise ValueError(
            f"{path!r} tells no names of classes (a list of text, 'classes' in 'metainfo')"
        )
    return list(names)


def nmi(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Normalised mutual information between the classes and the clusters that k-means finds in embedding space.

    Clusters are those of the L2-normalised features, as many as there are classes, the best of ten starts; mutual
    information is divided by the mean of both entropies, scikit-learn's default. The paper gives neither detail.

    Args:
        features: (N, C).
        labels: (N,) classes, at least two different ones.
        seed: of k-means.

    Returns:
        0 (independent) to 1 (the same partition).
    """
    classes = len(np.unique(labels))
    if classes < 2:
        raise ValueError(
            f'{len(labels)} sequences of {classes} class: NMI needs at least two classes'
        )
    clusters = KMeans(classes, n_init=10, random_state=seed).fit_predict(normalize(features))
    return float(normalized_mutual_info_score(labels, clusters))


def projection_settings(method: str, count: int, seed: int) -> dict:
    """Arguments of scikit-learn's ``TSNE`` or of umap-learn's ``UMAP``, the same for every picture.

    Args:
        method: ``tsne`` or ``umap``.
        count: number of sequences, which bounds the number of neighbours that either looks at.
        seed: of the method.
    """
    if method == 'tsne':
        return dict(
            metric='cosine', init='pca', perplexity=min(30.0, (count - 1) / 3), random_state=seed
        )
    if method == 'umap':
        return dict(
            metric='cosine', n_neighbors=min(15, count - 1), min_dist=0.1, random_state=seed
        )
    raise ValueError(f'unknown method {method!r}; known are tsne and umap')


def project(features: np.ndarray, method: str = 'tsne', seed: int = 0) -> np.ndarray:
    """Places (N, 2) of features (N, C) in the plane, by cosine distance (see :func:`projection_settings`).

    Raises:
        ImportError: if umap-learn is wanted and not installed.
        ValueError: if there are too few sequences or channels, or if all embeddings point the same way.
    """
    settings = projection_settings(method, len(features), seed)
    features = normalize(features)
    if len(features) < 4 or features.shape[1] < 2 or not np.ptp(features, axis=0).any():
        raise ValueError(
            f'{features.shape[0]} sequences with {features.shape[1]} features cannot be drawn; at least 4 '
            'sequences, which do not all point in the same direction, and 2 features are needed'
        )
    if method == 'tsne':
        return TSNE(**settings).fit_transform(features)
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            '--method umap needs umap-learn; install it with pip install umap-learn, '
            'or take --method tsne'
        ) from error
    return UMAP(**settings).fit_transform(features)


def draw_embedding(
    places: np.ndarray, labels: np.ndarray, names: Mapping[int, str], title: str
) -> Figure:
    """Points of the classes, with a legend beside them.

    Args:
        places: (N, 2), see :func:`project`.
        labels: (N,) classes.
        names: text of the legend for every class, in its order.
        title: of the picture.
    """
    figure = Figure(figsize=(6.5, 6.5))
    axis = figure.add_subplot()
    size = float(np.clip(8000 / len(places), 6, 40))  # points squared
    for number, (label, name) in enumerate(names.items()):
        axis.scatter(
            *places[labels == label].T,
            s=size,
            linewidths=0,
            label=name,
            color=PALETTE[number % len(PALETTE)],
            marker=MARKERS[number // 5 % len(MARKERS)],
        )
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=15)
    axis.set_aspect('equal', adjustable='datalim')
    legend = axis.legend(
        loc='upper left',
        bbox_to_anchor=(1.01, 1),
        ncols=-(-len(names) // LEGEND_ROWS),
        fontsize=13,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.2,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([60])
    return figure
