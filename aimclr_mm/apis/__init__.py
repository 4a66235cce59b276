"""Python interface: load encoders, embed recordings, search and classify them."""

from aimclr_mm.datasets.own_files import read_recordings

from .classifier import (
    ClassificationHead,
    EmbeddingClassifier,
    Neighbors,
    fit_classifier,
    leave_one_out,
    load_head,
    nearest,
)
from .inferencer import EmbeddingInferencer, load_encoder
from .prediction import Prediction, merge_predictions, predict, predict_stream
from .windows import Windows

__all__ = [
    'ClassificationHead',
    'EmbeddingClassifier',
    'EmbeddingInferencer',
    'Neighbors',
    'Prediction',
    'Windows',
    'fit_classifier',
    'leave_one_out',
    'load_encoder',
    'load_head',
    'merge_predictions',
    'nearest',
    'predict',
    'predict_stream',
    'read_recordings',
]
