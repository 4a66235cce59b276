"""One method a file: its loss in the order of the paper."""

from .actclr import ActCLR
from .aimclr import AimCLR
from .aimclr_pp import AimCLRPlusPlus
from .cross_stream import CrossStream
from .hiclr import HiCLR
from .pstl import PSTL
from .raw_coordinates import RawCoordinates
from .skeletonclr import SkeletonCLR

__all__ = [
    'PSTL',
    'ActCLR',
    'AimCLR',
    'AimCLRPlusPlus',
    'CrossStream',
    'HiCLR',
    'RawCoordinates',
    'SkeletonCLR',
]
