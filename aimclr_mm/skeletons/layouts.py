"""Joint layouts: the only place of the project that knows joint numbers.

A layout is written down as ``(joint, parent)`` names; everything else that graphs, bone streams, flips and
centring need (edges, bone parents, left/right pairs, shoulders) is derived from those names. Joint indices are
0-based and follow the order in which the joints are listed, which is the order of the recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from .layout_files import read_fields


@dataclass(frozen=True)
class Layout:
    """One skeleton.

    Args:
        name: key of the layout.
        joints: names of the V joints in the order of the data. ``left_`` and ``right_`` mark mirrored joints.
        parents: name of each joint's parent; the root is its own parent.
        center: name of the joint that is the graph's centre and the origin after centring.
        dims: number of spatial coordinates, 2 or 3. Channels beyond them (a keypoint score) are no coordinates.
        shoulders: names of the left and the right shoulder.
        extra_edges: graph edges ``(joint, neighbour)`` that replace the bone of that joint in the graph, where
            the field's graph and bone conventions differ.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[str, ...]
    center: str
    dims: int = 3
    shoulders: tuple[str, str] = ('left_shoulder', 'right_shoulder')
    extra_edges: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        known = set(self.joints)
        if len(known) != len(self.joints):
            raise ValueError(f'layout {self.name!r} names a joint twice')
        if len(self.parents) != len(self.joints):
            raise ValueError(
                f'layout {self.name!r} has {len(self.joints)} joints but {len(self.parents)} parents'
            )
        used = [
            *self.parents,
            self.center,
            *self.shoulders,
            *(j for edge in self.extra_edges for j in edge),
        ]
        unknown = sorted(set(used) - known)
        if unknown:
            raise ValueError(
                f'layout {self.name!r} refers to unknown joints {unknown}; it has {list(self.joints)}'
            )
        alone = sorted(j for j in known if self._opposite(j) not in known)
        if alone:
            raise ValueError(
                f'layout {self.name!r} has joints without a mirror image: {alone}; left_ and right_ '
                'joints come in pairs'
            )
        parent = dict(zip(self.joints, self.parents))
        for joint in self.joints:
            ancestor = joint
            for _ in self.joints:
                ancestor = parent[ancestor]
            if parent[ancestor] != ancestor:
                raise ValueError(
                    f'layout {self.name!r}: joint {joint!r} has no root among its ancestors; the root is '
                    'its own parent'
                )
        if self.dims not in (2, 3):
            raise ValueError(
                f'layout {self.name!r} has dims={self.dims}; a skeleton has 2 or 3 coordinates'
            )

    @staticmethod
    def _opposite(name: str) -> str:
        if name.startswith('left_'):
            return 'right_' + name[len('left_') :]
        if name.startswith('right_'):
            return 'left_' + name[len('right_') :]
        return name

    def index(self, joint: str) -> int:
        """0-based index of a joint name."""
        return self.joints.index(joint)

    @property
    def num_joints(self) -> int:
        """V."""
        return len(self.joints)

    @cached_property
    def bones(self) -> tuple[int, ...]:
        """Parent index of each of the V joints; the root is its own parent."""
        return tuple(self.index(parent) for parent in self.parents)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Graph edges ``(joint, neighbour towards the centre)`` without self-links."""
        replaced = dict(self.extra_edges)
        pairs = (
            (joint, replaced.get(joint, parent)) for joint, parent in zip(self.joints, self.parents)
        )
        return tuple((self.index(a), self.index(b)) for a, b in pairs if a != b)

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """For each joint the index of its mirror image; middle joints map to themselves."""
        return tuple(self.index(self._opposite(name)) for name in self.joints)

    @property
    def center_index(self) -> int:
        """Index of the centre joint."""
        return self.index(self.center)

    @property
    def shoulder_indices(self) -> tuple[int, int]:
        """Indices of the left and the right shoulder."""
        return self.index(self.shoulders[0]), self.index(self.shoulders[1])

    def to_config(self) -> str | dict:
        """What :func:`get_layout` makes this layout from again: its name in the table, or else its fields."""
        return self.name if LAYOUTS.get(self.name) is self else asdict(self)

    def graph(self) -> dict:
        """The layout as mmaction2's ``Graph`` takes it."""
        return dict(num_node=self.num_joints, inward=list(self.edges), center=self.center_index)


def _layout(name: str, center: str, bones: str, **kwargs) -> Layout:
    """A layout from lines of ``joint<parent``."""
    pairs = [bone.split('<') for bone in bones.split()]
    return Layout(name, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs), center, **kwargs)


# Kinect v2, order of NTU RGB+D and PKU-MMD. Hand tips hang on the thumbs, as in the graph and the bone pairs of
# the paper's code; mmaction2's own 'nturgb+d' graph hangs both on the hand instead.
NTU25 = _layout(
    'ntu25',
    'spine_shoulder',
    """
    spine_base<spine_mid spine_mid<spine_shoulder neck<spine_shoulder head<neck
    left_shoulder<spine_shoulder left_elbow<left_shoulder left_wrist<left_elbow left_hand<left_wrist
    right_shoulder<spine_shoulder right_elbow<right_shoulder right_wrist<right_elbow right_hand<right_wrist
    left_hip<spine_base left_knee<left_hip left_ankle<left_knee left_foot<left_ankle
    right_hip<spine_base right_knee<right_hip right_ankle<right_knee right_foot<right_ankle
    spine_shoulder<spine_shoulder
    left_hand_tip<left_thumb left_thumb<left_hand right_hand_tip<right_thumb right_thumb<right_hand""",
)

# Kinect v1, order of the Kinect SDK (NW-UCLA, UTD-MHAD once reordered).
KINECT20 = _layout(
    'kinect20',
    'shoulder_center',
    """
    hip_center<spine spine<shoulder_center shoulder_center<shoulder_center head<shoulder_center
    left_shoulder<shoulder_center left_elbow<left_shoulder left_wrist<left_elbow left_hand<left_wrist
    right_shoulder<shoulder_center right_elbow<right_shoulder right_wrist<right_elbow right_hand<right_wrist
    left_hip<hip_center left_knee<left_hip left_ankle<left_knee left_foot<left_ankle
    right_hip<hip_center right_knee<right_hip right_ankle<right_knee right_foot<right_ankle""",
)

# COCO keypoints, 2-D poses of mmpose and mmaction2. Hips hang on the nose as bones and on the shoulders in the
# graph, both as in mmaction2.
COCO17 = _layout(
    'coco17',
    'nose',
    """
    nose<nose left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye
    left_shoulder<nose right_shoulder<nose left_elbow<left_shoulder right_elbow<right_shoulder
    left_wrist<left_elbow right_wrist<right_elbow left_hip<nose right_hip<nose
    left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee""",
    dims=2,
    extra_edges=(('left_hip', 'left_shoulder'), ('right_hip', 'right_shoulder')),
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (NTU25, KINECT20, COCO17)}


def get_layout(layout: str | Mapping | Layout) -> Layout:
    """Looks a layout up by name, or makes one from a mapping or a YAML file with :class:`Layout`'s fields.

    Args:
        layout: a name in the table, a mapping, or the path of a ``.yaml`` or ``.yml`` file. A file may have
            ``bones: {joint: parent, ...}``, in the order of the data, in place of ``joints`` and ``parents``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a name that is not in the table, and for fields that make no layout.
    """
    if isinstance(layout, Layout):
        return layout
    if isinstance(layout, str) and layout.lower().endswith(('.yaml', '.yml')):
        fields = read_fields(layout, Layout.shoulders)
        try:
            return get_layout(fields)
        except ValueError as error:
            raise ValueError(f'layout file {layout!r}: {error}') from error
    if isinstance(layout, Mapping):
        fields = {
            key: tuple(map(tuple, value))
            if key == 'extra_edges'
            else tuple(value)
            if isinstance(value, (list, tuple))
            else value
            for key, value in layout.items()
        }
        try:
            return Layout(**{'name': 'custom', **fields})
        except TypeError as error:
            raise ValueError(f'the layout {dict(layout)} cannot be made: {error}') from error
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(
            f'unknown joint layout {layout!r}; known are {sorted(LAYOUTS)}, '
            'or give a mapping with joints, parents and center, or the path of a .yaml file with them'
        )
    return LAYOUTS[layout]
