"""AimCLR and its parts."""
from .aimclr import AimCLR
from .backbones import SkeletonAAGCN, SkeletonSTGCN
from .baselines import RawCoordinates
from .classifier import SkeletonHead
from .cross_stream import CrossStream
from .eadm import EADM
from .encoder import Encoder, ProjectionHead
from .queue import MemoryQueue
from .skeletonclr import SkeletonCLR
from .stgcn import AimCLRSTGCN
from .views import STREAMS, LabelledViews, SkeletonViews

__all__ = ['EADM', 'STREAMS', 'AimCLR', 'AimCLRSTGCN', 'CrossStream', 'Encoder', 'LabelledViews', 'MemoryQueue',
           'ProjectionHead', 'RawCoordinates', 'SkeletonAAGCN', 'SkeletonCLR', 'SkeletonHead', 'SkeletonSTGCN',
           'SkeletonViews']
