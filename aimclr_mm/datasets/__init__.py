"""Datasets: annotation files, cached preprocessing, batches, synthetic actions."""

from .annotations import load_annotations, write_pickle
from .batch import SkeletonBatch, collate_skeletons
from .sampler import EvenSampler
from .skeleton_dataset import SkeletonDataset

__all__ = [
    'EvenSampler',
    'SkeletonBatch',
    'SkeletonDataset',
    'collate_skeletons',
    'load_annotations',
    'write_pickle',
]
