"""Skeleton transforms: preprocessing, the eight augmentations, the views of a batch."""

from .augmentations import (
    AxisMask,
    GaussianBlur,
    GaussianNoise,
    Rotate,
    Shear,
    SpatialFlip,
    TemporalCrop,
    TemporalFlip,
)
from .base import RandomTransform, SkeletonTransform
from .preprocessing import AlignShoulders, CenterSkeleton, ResizeClip

__all__ = [
    'AlignShoulders',
    'AxisMask',
    'CenterSkeleton',
    'GaussianBlur',
    'GaussianNoise',
    'RandomTransform',
    'ResizeClip',
    'Rotate',
    'Shear',
    'SkeletonTransform',
    'SpatialFlip',
    'TemporalCrop',
    'TemporalFlip',
]
