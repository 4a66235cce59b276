"""Evaluators of frozen representations and of classifiers."""

from .classification import ClassifierMetric
from .features import FeatureCollector, FeatureMetric, top_k_accuracy
from .knn import KNNMetric, knn_scores
from .linear import LinearProbeMetric, train_linear
from .results import FeatureSet, ScoreSet

# names of `tools/test.py --eval` and the evaluator that each stands for
EVALUATORS = {
    'knn': dict(type='KNNMetric'),
    'linear': dict(type='LinearProbeMetric'),
    'linear_large': dict(type='LinearProbeMetric', prefix='linear_large', batch_size=1024, lr=24.0),
}

__all__ = [
    'EVALUATORS',
    'ClassifierMetric',
    'FeatureCollector',
    'FeatureMetric',
    'FeatureSet',
    'KNNMetric',
    'LinearProbeMetric',
    'ScoreSet',
    'knn_scores',
    'top_k_accuracy',
    'train_linear',
]
