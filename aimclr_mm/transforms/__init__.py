"""Skeleton transforms: preprocessing and the eight augmentations."""

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
from .base import SkeletonTransform
from .preprocessing import AlignShoulders, CenterSkeleton, NormalizePose, ResizeClip

__all__ = [
    'AlignShoulders',
    'AxisMask',
    'CenterSkeleton',
    'GaussianBlur',
    'GaussianNoise',
    'NormalizePose',
    'ResizeClip',
    'Rotate',
    'Shear',
    'SkeletonTransform',
    'SpatialFlip',
    'TemporalCrop',
    'TemporalFlip',
]
