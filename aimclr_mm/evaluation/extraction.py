"""Run a network over an evaluation data set: features of encoders, scores of classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import collect_results, is_main_process
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from .results import FeatureSet, ScoreSet

LONG = 1000  # sequences from which on a progress bar is shown


class FeatureRow(NamedTuple):
    """One sequence of a :class:`~aimclr_mm.evaluation.FeatureSet`."""

    feature: Tensor  # (C,)
    label: int
    gallery: bool
    name: str


class ScoreRow(NamedTuple):
    """One sequence of a :class:`~aimclr_mm.evaluation.ScoreSet`."""

    scores: np.ndarray  # (classes,)
    label: int
    name: str


def feature_row(sample: Mapping[str, Any]) -> FeatureRow:
    """Return feature, label, role and name of a data sample of an encoder.

    Args:
        sample: with ``feature`` (set by the model), ``gt_label`` and ``role``, ``gallery`` or
            ``query`` (set by :class:`~aimclr_mm.datasets.SkeletonDataset`).
    """
    if 'gt_label' not in sample:
        raise ValueError(
            'the evaluation needs labels, but a sample of the evaluation data has none'
        )
    return FeatureRow(
        sample['feature'],
        int(sample['gt_label']),
        sample['role'] == 'gallery',
        str(sample.get('frame_dir', '')),
    )


def score_row(sample: Mapping[str, Any]) -> ScoreRow:
    """Return scores, label and name of a data sample of a classifier."""
    return ScoreRow(
        sample['pred_score'].float().cpu().numpy(),
        int(sample['gt_label']),
        str(sample.get('frame_dir', '')),
    )


def feature_set(rows: Sequence[FeatureRow]) -> FeatureSet:
    """Stack rows to a feature set."""
    features, labels, gallery, names = zip(*rows)
    return FeatureSet(
        torch.stack(features).numpy(),
        np.array(labels, dtype=np.int64),
        np.array(gallery),
        np.array(names),
    )


def score_set(rows: Sequence[ScoreRow]) -> ScoreSet:
    """Stack rows to a score set."""
    scores, labels, names = zip(*rows)
    return ScoreSet(np.stack(scores), np.array(labels, dtype=np.int64), np.array(names))


@torch.no_grad()
def predict(model: BaseModel, loader: DataLoader, read: Callable[[dict], tuple]) -> list | None:
    """Run a model over a data set and gather one row per sequence from all ranks.

    Args:
        model: network in any mode; it is left in evaluation mode.
        loader: data loader of the evaluation data. Its sampler may pad the ranks to equal length;
            padding is dropped.
        read: function that turns a data sample, as a dict, into a row.

    Returns:
        Rows in the order of the data set; None on ranks other than the first.
    """
    model.eval()
    size = len(loader.dataset)
    batches = track(
        loader,
        'Evaluation data',
        console=Console(stderr=True),
        disable=size < LONG or not is_main_process(),
    )

    rows = []
    for batch in batches:
        samples = model.test_step(batch)
        rows += [read(s if isinstance(s, dict) else s.to_dict()) for s in samples]
    return collect_results(rows, size, 'cpu')


def extract(model: BaseModel, loader: DataLoader) -> FeatureSet | None:
    """Return the representations of gallery and queries; None on ranks other than the first.

    Args:
        model: frozen encoder whose ``test_step`` sets ``feature`` of the data samples.
        loader: see :func:`predict`.
    """
    rows = predict(model, loader, feature_row)
    if rows is None:
        return None

    features = feature_set(rows)
    count = int(features.gallery.sum())
    MMLogger.get_current_instance().info(
        f'Features: {count} gallery, {len(features.gallery) - count} query sequences'
    )
    return features


def classify(model: BaseModel, loader: DataLoader) -> ScoreSet | None:
    """Return the class scores of a classifier; None on ranks other than the first.

    Args:
        model: recognizer of mmaction2, whose ``test_step`` sets ``pred_score`` of the data samples.
        loader: see :func:`predict`.
    """
    rows = predict(model, loader, score_row)
    return None if rows is None else score_set(rows)
