"""Left and right in the names of joints: ``left_wrist``, ``ShoulderLeft``, ``l_knee``, ``LWrist``.

The word ``left`` or ``right`` tells the side wherever it stands; the letters ``l`` and ``r`` do at
the beginning or the end, apart from the rest, and only if the joint of the other side exists.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# a word on its own, or with a capital within a name: left_hip, hipLeft, Left Hip, but not cleft
_WORD = re.compile(r'(?<![a-zA-Z])(left|right|LEFT|RIGHT)(?![a-z])|(Left|Right)(?![a-z])')
# l_hip, LHip, L.Hip; hip_l, hipL, Hip.L
_LETTER = re.compile(r'^[lLrR](?=[^a-zA-Z0-9]|[A-Z])|(?<=[^a-zA-Z0-9])[lLrR]$|(?<=[a-z])[LR]$')
_OTHER = {
    **{'left': 'right', 'Left': 'Right', 'LEFT': 'RIGHT', 'l': 'r', 'L': 'R'},
    **{'right': 'left', 'Right': 'Left', 'RIGHT': 'LEFT', 'r': 'l', 'R': 'L'},
}


def _swap(match: re.Match) -> str:
    return _OTHER[match[0]]


def mirror_name(name: str, joints: Collection[str]) -> str | None:
    """Return the name of the joint on the other side; the name itself for one in the middle.

    Args:
        name: a joint.
        joints: all joints.

    Returns:
        None if the name tells a side and the joint of the other side is not there.
    """
    if _WORD.search(name):
        other = _WORD.sub(_swap, name)
        return other if other in joints else None
    other = _LETTER.sub(_swap, name, count=1)
    return other if other in joints else name


def find_pair(part: str, joints: Collection[str]) -> tuple[str, str] | None:
    """Return the left and the right joint of a part of the body such as ``shoulder``, if named so.

    Args:
        part: name in lower case, without a side.
        joints: all joints.
    """
    for name in joints:
        other = mirror_name(name, joints)
        if other in (None, name):
            continue
        pattern = _WORD if _WORD.search(name) else _LETTER
        side = pattern.search(name)[0].lower()
        stem = re.sub('[^a-z]', '', pattern.sub('', name, count=1).lower())
        if side in ('l', 'left') and stem == part:
            return name, other
    return None
