"""Evaluators of frozen representations."""
from .features import FeatureCollector, FeatureMetric, top_k_accuracy
from .knn import KNNMetric, knn_scores
from .linear import LinearProbeMetric, train_linear

# names of `tools/test.py --eval` and the evaluator that each stands for
EVALUATORS = {'knn': KNNMetric, 'linear': LinearProbeMetric}

__all__ = ['EVALUATORS', 'FeatureCollector', 'FeatureMetric', 'KNNMetric', 'LinearProbeMetric', 'knn_scores',
           'top_k_accuracy', 'train_linear']
