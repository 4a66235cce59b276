"""Body parts of a joint layout: torso and head, arms, legs."""

from __future__ import annotations

from functools import lru_cache

from .layouts import Layout

PARTS = ('torso', 'left_arm', 'right_arm', 'left_leg', 'right_leg')
SIDES = ('left_', 'right_')

# words in the names of joints, apart from the side
LEG_WORDS = ('hip', 'leg', 'thigh', 'knee', 'shin', 'ankle', 'foot', 'heel', 'toe')
ARM_WORDS = (
    *('clavicle', 'collar', 'shoulder', 'arm', 'elbow', 'wrist', 'hand', 'palm'),
    *('finger', 'thumb', 'index', 'middle', 'ring', 'pinky', 'little'),
)


@lru_cache(maxsize=64)
def body_parts(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Group the joints of a layout into five body parts, by their names.

    A joint ``left_*`` or ``right_*`` with a word of a leg or an arm in its name (``left_foot``,
    ``right_forearm``) is of that limb, and one without such a word of the part of its parent. All
    others, such as spine, head, eyes and ears, are of the torso.

    Returns:
        The indices of the joints of each of :data:`PARTS`; every joint is in one part.

    Raises:
        ValueError: if one of the parts has no joint, as in the skeleton of a hand.
    """
    parents = dict(zip(layout.joints, layout.parents))
    groups: dict[str, list[int]] = {part: [] for part in PARTS}
    for index, joint in enumerate(layout.joints):
        groups[_part_of(joint, parents)].append(index)

    empty = [part for part, joints in groups.items() if not joints]
    if empty:
        raise ValueError(
            f'layout {layout.name!r} cannot be divided into body parts: no joint is of the '
            f'{empty[0]}. Arms and legs are known by names such as left_elbow and right_knee; '
            f'it has {", ".join(layout.joints)}'
        )
    return {part: tuple(joints) for part, joints in groups.items()}


def _part_of(joint: str, parents: dict[str, str]) -> str:
    """Return the part of a joint, by its name or else by that of its parent."""
    while joint.startswith(SIDES):
        side, name = joint.split('_', 1)
        if any(word in name for word in LEG_WORDS):
            return f'{side}_leg'
        if any(word in name for word in ARM_WORDS):
            return f'{side}_arm'
        if parents[joint] == joint:
            break
        joint = parents[joint]
    return 'torso'
