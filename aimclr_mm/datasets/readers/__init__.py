"""Readers of the original files of published data sets."""

from .base import Reader
from .movements import Movements
from .msr_action3d import MSRAction3D
from .ntu import NTU60, NTU120
from .nw_ucla import NWUCLA
from .padded import PaddedReader
from .pku_mmd import PKUMMD1, PKUMMD2
from .released import ReleasedReader
from .sources import RecordingError, SourceFile, list_files
from .synthetic import Synthetic
from .utd_mhad import UTDMHAD

__all__ = [
    'MSRAction3D',
    'Movements',
    'NTU60',
    'NTU120',
    'NWUCLA',
    'PKUMMD1',
    'PKUMMD2',
    'PaddedReader',
    'Reader',
    'RecordingError',
    'ReleasedReader',
    'SourceFile',
    'Synthetic',
    'UTDMHAD',
    'list_files',
]
