"""AimCLR and its parts."""

from .backbones import AimCLRSTGCN, FastSTGCN, SkeletonAAGCN, SkeletonSTGCN
from .data_preprocessor import STREAMS, LabeledViews, SkeletonViews
from .eadm import EADM
from .encoder import Encoder, ProjectionHead
from .heads import SkeletonHead
from .memory_bank import MemoryBank
from .methods.actclr import ActCLR
from .methods.aimclr import AimCLR
from .methods.aimclr_pp import AimCLRPlusPlus
from .methods.cross_stream import CrossStream
from .methods.hiclr import HiCLR
from .methods.pstl import PSTL
from .methods.raw_coordinates import RawCoordinates
from .methods.skeletonclr import SkeletonCLR
from .skelemix import SkeleMix

__all__ = [
    'EADM',
    'PSTL',
    'STREAMS',
    'ActCLR',
    'AimCLR',
    'AimCLRPlusPlus',
    'AimCLRSTGCN',
    'CrossStream',
    'Encoder',
    'FastSTGCN',
    'HiCLR',
    'LabeledViews',
    'MemoryBank',
    'ProjectionHead',
    'RawCoordinates',
    'SkeleMix',
    'SkeletonAAGCN',
    'SkeletonCLR',
    'SkeletonHead',
    'SkeletonSTGCN',
    'SkeletonViews',
]
