"""Nearest neighbors of coordinates by dynamic time warping, a baseline without any training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .results import FeatureSet

FRAMES = 32
BAND = 10  # frames that two sequences may be shifted against each other (Sakoe and Chiba, 1978)
CHUNK = 64  # queries compared at once
MAX_PAIRS = 20_000_000  # about five minutes on one core


def pose_paths(x: np.ndarray, dims: int, frames: int = FRAMES) -> np.ndarray:
    """Return sequences as paths of centered poses of unit size.

    The mean joint of the first person is subtracted from the people of each frame, so that it does
    not matter where they stand. Each sequence is divided by the standard deviation of its
    coordinates, for bodies of different size, and resampled linearly.

    Args:
        x: (N, M, T, V, C) sequences. People that are absent from a frame are zeros.
        dims: number of coordinates; channels beyond them, which are scores, are left out.
        frames: number of frames of a path.

    Returns:
        (N, frames, M * V * dims) paths, float64.
    """
    x = np.asarray(x[..., :dims], dtype=np.float64)
    present = x.any(axis=(3, 4), keepdims=True)  # (N, M, T, 1, 1)
    x = np.where(present, x - x[:, :1].mean(axis=3, keepdims=True), 0)

    deviation = x.std(axis=(1, 2, 3, 4), keepdims=True)
    x = x / np.where(deviation > 0, deviation, 1)

    time = np.linspace(0, x.shape[2] - 1, frames)
    before = np.floor(time).astype(int)
    after = np.minimum(before + 1, x.shape[2] - 1)
    weight = (time - before)[:, None, None]
    x = x[:, :, before] * (1 - weight) + x[:, :, after] * weight
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3, 4)).reshape(len(x), frames, -1)


def warped_distances(queries: np.ndarray, gallery: np.ndarray, band: int = BAND) -> np.ndarray:
    """Return the distances of dynamic time warping.

    The distance is the root of the least sum of squared Euclidean distances of frames over all
    monotonous alignments within the band.

    Args:
        queries: (Q, T, D) paths.
        gallery: (G, T, D) paths.
        band: largest difference between the indices of two aligned frames.

    Returns:
        (Q, G) distances.

    Raises:
        ImportError: if dtaidistance is not installed.
    """
    try:
        from dtaidistance import dtw_ndim
    except ImportError as error:
        raise ImportError(
            "dynamic time warping needs dtaidistance: pip install 'aimclr_mm[dtw]'"
        ) from error

    parts = []
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        total = len(chunk) + len(gallery)
        distances = dtw_ndim.distance_matrix_fast(
            [*chunk, *gallery],
            window=band + 1,  # its window is the first shift that is not allowed
            block=((0, len(chunk)), (len(chunk), total)),
            compact=True,
            parallel=False,
        )
        parts.append(np.asarray(distances).reshape(len(chunk), len(gallery)))
    return np.concatenate(parts)


def dtw(features: FeatureSet, shape: Sequence[int], dims: int) -> dict[str, float]:
    """Return the accuracy ``top1`` of the nearest neighbor by time warping, in percent.

    Args:
        features: flattened coordinates, as :class:`~aimclr_mm.models.RawCoordinates` gives them.
        shape: (M, T, V, C), the shape of a sequence.
        dims: number of coordinates, C without scores.

    Raises:
        ImportError: if dtaidistance is not installed.
        ValueError: if the gallery or the queries are empty, or form more than :data:`MAX_PAIRS`
            pairs.
    """
    gallery, gallery_labels, queries, labels = (part.numpy() for part in features.split())
    pairs = len(gallery) * len(queries)
    if pairs > MAX_PAIRS:
        raise ValueError(
            f'dtw compares each query with each sequence of the gallery, here {pairs:,} pairs; the '
            f'limit is {MAX_PAIRS:,}. Leave dtw out, or evaluate on fewer sequences'
        )

    gallery, queries = (pose_paths(part.reshape(-1, *shape), dims) for part in (gallery, queries))
    nearest = warped_distances(queries, gallery).argmin(axis=1)
    return dict(top1=100.0 * float((gallery_labels[nearest] == labels).mean()))
