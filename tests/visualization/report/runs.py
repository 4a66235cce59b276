"""Work directories with made-up logs, features and scores."""

import json
from pathlib import Path

import numpy as np

from aimclr_mm.evaluation.results import FeatureSet, ScoreSet


def write_log(work: Path, records: list, run: str = '20260101_000000', end: str = '') -> None:
    """Write a scalars.json that ends with ``end``."""
    folder = work / run / 'vis_data'
    folder.mkdir(parents=True)
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    (folder / 'scalars.json').write_text(lines + end)


def train_record(epoch: int, **values) -> dict:
    """Return the training record of an epoch."""
    usual = dict(loss=10.0 / epoch, chance=12.0, cosine=1.0 / epoch)
    return {**usual, 'epoch': epoch, 'step': 7 * epoch, **values}


def make_scores(classes: int = 6, count: int = 90, name: str = 'sequence') -> ScoreSet:
    """Return random scores that prefer the label and the class after it."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes - 1, count)  # the last class has no sequences
    values = rng.normal(size=(count, classes))
    values[np.arange(count), labels] += 1
    values[np.arange(count), (labels + 1) % classes] += 0.7
    return ScoreSet(values.astype(np.float32), labels, np.array([name] * count))


def make_features(count: int = 24, name: str = 'sequence') -> FeatureSet:
    """Return random features; every third one belongs to the gallery."""
    index = np.arange(count)
    features = np.random.default_rng(1).normal(size=(count, 5)).astype(np.float32)
    names = np.array([f'{name}{i}' for i in index])
    return FeatureSet(features, index % 4, index % 3 == 0, names)
