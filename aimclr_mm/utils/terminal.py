"""Lines for a terminal, which text of others must not control."""

from __future__ import annotations

from typing import TextIO

# joiners between letters of Arabic and Indic scripts and between emoji
_JOINERS = '\u200c\u200d'


def printable(text: str, keep: str = '') -> str:
    """Escape the characters that would control a terminal: control codes, changes of direction.

    Args:
        text: text of others, such as a name of a file or a class.
        keep: characters that are kept as they are, such as line breaks.
    """
    if text.isprintable():
        return text
    kept = keep + _JOINERS
    return ''.join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in text)


def say(*lines: str, file: TextIO | None = None) -> None:
    """Print lines that may hold text of others; a line break within one is escaped."""
    print('\n'.join(map(printable, lines)), file=file, flush=True)
