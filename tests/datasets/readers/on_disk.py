"""Helper of the tests of readers: write files to a folder or an archive."""

import zipfile
from collections.abc import Mapping
from pathlib import Path


def put(folder: Path, files: Mapping[str, str | bytes], form: str = 'folder') -> str:
    """Write files, text in Latin 1, to a folder or an archive, and return its path."""
    content = {
        name: text if isinstance(text, bytes) else text.encode('latin1')
        for name, text in files.items()
    }
    if form == 'zip':
        with zipfile.ZipFile(folder / 'source.zip', 'w') as archive:
            for name, text in content.items():
                archive.writestr(name, text)
        return str(folder / 'source.zip')
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    return str(folder)
