"""Data sets: reading annotation files, synthetic actions."""

from .annotations import load_annotations, write_pickle
from .sampler import EvenSampler
from .skeleton_dataset import SkeletonDataset

__all__ = ['EvenSampler', 'SkeletonDataset', 'load_annotations', 'write_pickle']
