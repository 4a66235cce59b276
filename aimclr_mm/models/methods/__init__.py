"""One method a file: its loss in the order of the paper."""

from .aimclr import AimCLR
from .cross_stream import CrossStream
from .raw_coordinates import RawCoordinates
from .skeletonclr import SkeletonCLR

__all__ = ['AimCLR', 'CrossStream', 'RawCoordinates', 'SkeletonCLR']
