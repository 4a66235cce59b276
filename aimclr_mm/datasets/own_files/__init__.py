"""Own recordings: files of poses in many formats, folders of them, and manifests."""

from .folders import FolderReader
from .manifest import ManifestReader
from .recordings import as_annotations, check_names, read_recordings

__all__ = [
    'FolderReader',
    'ManifestReader',
    'as_annotations',
    'check_names',
    'read_recordings',
]
