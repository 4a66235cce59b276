"""Columns of tables by their names, such as ``left_wrist_x`` or ``SpineBase Y``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aimclr_mm.datasets.readers.sources import RecordingError
from aimclr_mm.skeletons import Layout

AXES = ('x', 'y', 'z')
SCORES = ('visibility', 'confidence', 'conf', 'score', 'likelihood', 'prob', 'c', 'v', 'presence')

_WORDS = '|'.join(sorted((*AXES, *SCORES), key=len, reverse=True))
_SUFFIX = re.compile(rf'^(.*?)(?:^|[^a-zA-Z]|(?<=[a-z])(?=[XYZ]))({_WORDS})$', re.IGNORECASE)
_CAMEL = re.compile(r'^(.*[a-z0-9])([XYZCV])$')
_PREFIX = re.compile(rf'^({_WORDS})(?:[^a-zA-Z](.*)|([0-9]+))$', re.IGNORECASE)
_SIDES = dict(l='left', r='right')


def find_channel(name: str) -> tuple[str, str] | None:
    """Return the joint and the channel in the name of a column, None if it names no channel."""
    name = name.strip()
    if match := _CAMEL.match(name) or _SUFFIX.match(name):
        return match[1], match[2].lower()
    if match := _PREFIX.match(name):
        return match[2] or match[3] or '', match[1].lower()
    return None


def order_columns(names: Sequence[str], layout: Layout) -> list[int]:
    """Return the columns of the coordinates, and of the score, in the order of the layout.

    Args:
        names: names of the columns.
        layout: joint layout.

    Returns:
        0-based columns, joint by joint. All columns, in their order, if the names tell nothing.

    Raises:
        RecordingError: if the names of channels or joints contradict the layout.
    """
    found = [find_channel(name) for name in names]
    if not names or None in found:
        return list(range(len(names)))

    groups = _group(found)
    wanted = list(AXES[: layout.dims])
    scores = [score for score in SCORES if all(score in group for group in groups)]
    for group in groups:
        missing = [axis for axis in wanted if axis not in group]
        if missing:
            raise RecordingError(
                f'has columns {list(group)} for a joint, but no {missing[0]}; the layout '
                f'{layout.name} has the coordinates {", ".join(wanted)}'
            )
    ordered = order_joints([_joint(found, group) for group in groups], layout)
    return [groups[place][channel] for place in ordered for channel in (*wanted, *scores[:1])]


def _group(found: Sequence[tuple[str, str]]) -> list[dict[str, int]]:
    """Return channel -> column for each joint, in their order."""
    channels = [channel for _, channel in found]
    num_joints = channels.count(channels[0])
    per_joint = len(set(channels))
    if len(channels) != num_joints * per_joint:
        raise RecordingError(
            f'has {len(channels)} columns of channels {sorted(set(channels))}; each joint must '
            'have all of them'
        )

    together = channels == channels[:per_joint] * num_joints
    apart = channels == [channel for channel in channels[::num_joints] for _ in range(num_joints)]
    if not together and not apart:
        raise RecordingError(
            'has columns of x, y and z in an order that changes from joint to joint; write '
            'x, y, z of the first joint, then of the second and so on'
        )
    step, jump = (1, per_joint) if together else (num_joints, 1)
    return [
        {channels[joint * jump + k * step]: joint * jump + k * step for k in range(per_joint)}
        for joint in range(num_joints)
    ]


def _joint(found: Sequence[tuple[str, str]], group: dict[str, int]) -> str:
    return found[next(iter(group.values()))][0]


def order_joints(names: Sequence[str], layout: Layout) -> list[int]:
    """Return the places of the layout's joints among the joints of a table.

    The places are 0, 1, 2, ... if the names are not those of the layout.

    Raises:
        RecordingError: if only some names are those of the layout, in another order.
    """
    known = {_words(joint): place for place, joint in enumerate(layout.joints)}
    places = [known.get(_words(name)) for name in names]
    recognized = sum(place is not None for place in places)
    in_order = all(
        place is None or place == column % layout.num_joints for column, place in enumerate(places)
    )
    if in_order:
        return list(range(len(names)))

    if len(names) == layout.num_joints and sorted(known.values()) == sorted(
        place for place in places if place is not None
    ):
        return [places.index(place) for place in range(len(names))]

    wrong = next(i for i, place in enumerate(places) if place not in (None, i % len(known)))
    if recognized < layout.num_joints / 2:
        return list(range(len(names)))
    raise RecordingError(
        f'names joint {wrong + 1} {names[wrong]!r}, where layout {layout.name} has '
        f'{layout.joints[wrong % len(known)]!r}; bring the columns into the order of the layout, '
        'or give the layout that they have'
    )


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name in alphabetical order: LShoulder is left_shoulder."""
    parts = re.findall(r'[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+', name)
    words = [part.lower() for part in parts]
    return tuple(sorted(_SIDES.get(word, word) for word in words))
