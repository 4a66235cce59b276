"""Evaluation: extract features once; KNN, linear probe and fusion are pure functions of them."""

from .extraction import classify, extract
from .fusion import fuse
from .linear_probe import LinearResult, linear
from .metrics import ClassifierMetric, KNNMetric, LinearProbeMetric
from .neighbors import knn
from .results import EmbeddingSet, FeatureSet, ScoreSet, top_k_accuracy
from .warping import dtw

__all__ = [
    'ClassifierMetric',
    'EmbeddingSet',
    'FeatureSet',
    'KNNMetric',
    'LinearProbeMetric',
    'LinearResult',
    'ScoreSet',
    'classify',
    'dtw',
    'extract',
    'fuse',
    'knn',
    'linear',
    'top_k_accuracy',
]
