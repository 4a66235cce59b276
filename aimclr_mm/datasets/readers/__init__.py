"""Readers of the original files of each data set, by name."""
from .base import Reader
from .ntu import NTU60, NTU120
from .sources import RecordingError, SourceFile, list_files
from .synthetic import Synthetic
from .utd_mhad import UTDMHAD

READERS: dict[str, type[Reader]] = {reader.name: reader for reader in (Synthetic, NTU60, NTU120, UTDMHAD)}
OPTIONS = tuple(dict.fromkeys(option for reader in READERS.values() for option in reader.options))

__all__ = ['OPTIONS', 'READERS', 'Reader', 'RecordingError', 'SourceFile', 'list_files']
