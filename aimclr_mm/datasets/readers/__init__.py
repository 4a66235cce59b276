"""Readers of the original files of each data set, by name."""
from .base import Reader
from .custom import Custom
from .folders import Folders
from .msr_action3d import MSRAction3D
from .ntu import NTU60, NTU120
from .nw_ucla import NWUCLA
from .official import Official
from .pku_mmd import PKUMMD1, PKUMMD2
from .sources import RecordingError, SourceFile, list_files
from .synthetic import Synthetic
from .utd_mhad import UTDMHAD

READERS: dict[str, type[Reader]] = {reader.name: reader for reader in (
    Synthetic, NTU60, NTU120, PKUMMD1, PKUMMD2, UTDMHAD, NWUCLA, MSRAction3D, Official, Custom, Folders)}
OPTIONS = tuple(dict.fromkeys(option for reader in READERS.values() for option in reader.options))

__all__ = ['OPTIONS', 'READERS', 'Reader', 'RecordingError', 'SourceFile', 'list_files']
