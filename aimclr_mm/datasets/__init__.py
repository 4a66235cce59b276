"""Data sets: reading annotation files, synthetic actions."""
from .annotations import load_annotations, write_pickle
from .skeleton_dataset import SkeletonDataset

__all__ = ['SkeletonDataset', 'load_annotations', 'write_pickle']
