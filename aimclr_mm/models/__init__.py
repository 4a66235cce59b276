"""AimCLR and its parts."""

from .backbones import AimCLRSTGCN, FastSTGCN, SkeletonAAGCN, SkeletonSTGCN
from .data_preprocessor import STREAMS, LabelledViews, SkeletonViews
from .eadm import EADM
from .encoder import Encoder, ProjectionHead
from .heads import SkeletonHead
from .memory_bank import MemoryBank
from .methods.aimclr import AimCLR
from .methods.cross_stream import CrossStream
from .methods.raw_coordinates import RawCoordinates
from .methods.skeletonclr import SkeletonCLR

__all__ = [
    'EADM',
    'STREAMS',
    'AimCLR',
    'AimCLRSTGCN',
    'CrossStream',
    'Encoder',
    'FastSTGCN',
    'LabelledViews',
    'MemoryBank',
    'ProjectionHead',
    'RawCoordinates',
    'SkeletonAAGCN',
    'SkeletonCLR',
    'SkeletonHead',
    'SkeletonSTGCN',
    'SkeletonViews',
]
