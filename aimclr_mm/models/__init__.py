"""AimCLR and its parts."""
from .aimclr import AimCLR
from .baselines import RawCoordinates
from .eadm import EADM
from .encoder import Encoder, ProjectionHead
from .queue import MemoryQueue
from .skeletonclr import SkeletonCLR
from .stgcn import AimCLRSTGCN
from .views import SkeletonViews

__all__ = ['EADM', 'AimCLR', 'AimCLRSTGCN', 'Encoder', 'MemoryQueue', 'ProjectionHead', 'RawCoordinates',
           'SkeletonCLR', 'SkeletonViews']
