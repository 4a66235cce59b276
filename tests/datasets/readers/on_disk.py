"""What the tests of readers share: made-up files as a folder or as an archive."""

import zipfile
from collections.abc import Mapping
from pathlib import Path


def put(folder: Path, files: Mapping[str, str | bytes], form: str = 'folder') -> str:
    """Writes the files, text in Latin 1, as an archive or as a folder; returns the source."""
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
