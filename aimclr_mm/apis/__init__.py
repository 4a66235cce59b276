"""Python interface: load encoders, embed recordings, search and classify them."""

from aimclr_mm.datasets.own_files import read_recordings

from .classifier import EmbeddingClassifier, Neighbors, fit_classifier, leave_one_out, nearest
from .inferencer import EmbeddingInferencer, load_encoder

__all__ = [
    'EmbeddingClassifier',
    'EmbeddingInferencer',
    'Neighbors',
    'fit_classifier',
    'leave_one_out',
    'load_encoder',
    'nearest',
    'read_recordings',
]
