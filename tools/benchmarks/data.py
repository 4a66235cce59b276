"""Made-up skeletons of a given size, in memory, as an annotation file and as the released code's files."""

from __future__ import annotations

import os
import pickle

import numpy as np

from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.files import atomic_write

from .settings import Settings

CLASSES = 60
QUERIES = 16487 / 40091  # test sequences a training sequence in NTU-60, cross-subject
AXES = (0, 4, 2, 3, 1)  # (N, M, T, V, C) -> (N, C, T, V, M), and back


def skeletons(settings: Settings, samples: int, layout: Layout, seed: int = 0) -> np.ndarray:
    """Skeletons (N, M, T, V, C), float32, that never stand still; ``settings.share`` of them have all M people.

    The others have one, and zeros in the place of the rest, as preprocessed data have.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(
        (samples, settings.people, settings.frames, layout.num_joints, layout.dims), np.float32
    )
    x *= 0.3  # metres
    x[rng.permutation(samples)[round(settings.share * samples) :], 1:] = 0
    return x


def labels(samples: int) -> np.ndarray:
    """Labels that repeat, (N,)."""
    return np.arange(samples) % CLASSES


def write_annotations(path: str, layout: Layout, train: np.ndarray, test: np.ndarray) -> None:
    """Writes an annotation file of preprocessed sequences with the splits xsub_train, xsub_val and all.

    Args:
        path: the file.
        layout: of the joints.
        train, test: (N, M, T, V, C) each; the second may be empty.
    """
    annotations, split = [], {}
    for name, x in (('xsub_train', train), ('xsub_val', test)):
        split[name] = [f'{name}{index:06}' for index in range(len(x))]
        annotations += [
            dict(frame_dir=sequence, label=int(label), total_frames=x.shape[2], keypoint=keypoint)
            for sequence, label, keypoint in zip(split[name], labels(len(x)), x)
        ]
    split['all'] = [sequence for names in list(split.values()) for sequence in names]
    write_pickle(
        dict(
            metainfo=dict(layout=layout.name, preprocessed=True),
            split=split,
            annotations=annotations,
        ),
        path,
    )


def write_released(folder: str, name: str, x: np.ndarray) -> tuple[str, str]:
    """Writes skeletons (N, M, T, V, C) as the files that the released feeders read; returns the paths of both.

    The first holds the (N, C, T, V, M) array, the second names and labels.
    """
    position, label = (
        os.path.join(folder, f'{name}_{part}') for part in ('position.npy', 'label.pkl')
    )
    os.makedirs(folder, exist_ok=True)
    array = np.lib.format.open_memmap(
        position, 'w+', x.dtype, tuple(x.shape[axis] for axis in AXES)
    )
    for start in range(0, len(x), 1024):
        array[start : start + 1024] = x[start : start + 1024].transpose(AXES)
    array.flush()
    with atomic_write(label, 'wb') as file:
        pickle.dump(([f'{index:06}' for index in range(len(x))], labels(len(x)).tolist()), file)
    return position, label
