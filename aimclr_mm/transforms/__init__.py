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
    TransferBoneLengths,
)
from .base import SkeletonTransform
from .preprocessing import (
    AlignShoulders,
    CenterSkeleton,
    MapLayout,
    NormalizePose,
    ResizeClip,
)

__all__ = [
    'AlignShoulders',
    'AxisMask',
    'CenterSkeleton',
    'GaussianBlur',
    'GaussianNoise',
    'MapLayout',
    'NormalizePose',
    'ResizeClip',
    'Rotate',
    'Shear',
    'SkeletonTransform',
    'SpatialFlip',
    'TemporalCrop',
    'TemporalFlip',
    'TransferBoneLengths',
]
