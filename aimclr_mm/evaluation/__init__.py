"""Evaluation: extract features once; KNN, few-shot, linear probe and fusion are pure functions."""

from .extraction import classify, extract
from .few_shot import few_shot
from .fusion import fuse
from .linear_probe import LinearResult, linear
from .metrics import ClassifierMetric, FewShotMetric, KNNMetric, LinearProbeMetric
from .neighbors import knn
from .results import EmbeddingSet, FeatureSet, ScoreSet, top_k_accuracy
from .warping import dtw

__all__ = [
    'ClassifierMetric',
    'EmbeddingSet',
    'FeatureSet',
    'FewShotMetric',
    'KNNMetric',
    'LinearProbeMetric',
    'LinearResult',
    'ScoreSet',
    'classify',
    'dtw',
    'extract',
    'few_shot',
    'fuse',
    'knn',
    'linear',
    'top_k_accuracy',
]
