"""Joint layouts: the only place of the project that holds joint numbers.

A layout lists ``(joint, parent)`` names. Everything that graphs, bone streams, flips and centering
need (edges, bone parents, left/right pairs, shoulders) is derived from these names. Joint indices
are 0-based and follow the order of the list, which is the order of the recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from .layout_files import read_fields
from .sides import find_pair, mirror_name

MAX_JOINTS = 1000  # graphs take memory and time by its square


@dataclass(frozen=True)
class Layout:
    """Joints of a skeleton and how they are connected.

    Args:
        name: key in the table.
        joints: names of the V joints in the order of the data. Sides in names mark mirrored joints:
            ``left_wrist``, ``WristLeft``, ``l_wrist``, see :mod:`.sides`.
        parents: name of the parent of each joint; the root is its own parent.
        center: joint that is the center of the graph and the origin after centering.
        dims: number of spatial coordinates, 2 or 3; further channels (a keypoint score) do not
            count.
        shoulders: names of the left and the right shoulder; those that are named so if not given.
            None without shoulders, which only ``AlignShoulders`` needs.
        extra_edges: graph edges ``(joint, neighbor)`` that replace the bone of the joint in the
            graph, for layouts whose graph and bone conventions differ.

    Raises:
        ValueError: if names are unknown or duplicate, a mirror joint is missing, or the parents do
            not form a tree.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[str, ...]
    center: str
    dims: int = 3
    shoulders: tuple[str, str] | None = ('left_shoulder', 'right_shoulder')
    extra_edges: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.shoulders == type(self).shoulders and not set(self.shoulders) <= set(self.joints):
            object.__setattr__(self, 'shoulders', find_pair('shoulder', self.joints))
        self._check_names()
        self._check_tree()
        if self.dims not in (2, 3):
            raise ValueError(
                f'layout {self.name!r} has dims={self.dims}; a skeleton has 2 or 3 coordinates'
            )

    def _check_names(self) -> None:
        if len(self.joints) > MAX_JOINTS:
            raise ValueError(
                f'layout {self.name!r} has {len(self.joints)} joints; the limit is {MAX_JOINTS}'
            )
        known = set(self.joints)
        if len(known) != len(self.joints):
            raise ValueError(f'layout {self.name!r} names a joint twice')
        if len(self.parents) != len(self.joints):
            raise ValueError(
                f'layout {self.name!r} has {len(self.joints)} joints but {len(self.parents)} '
                'parents'
            )

        extra = [joint for edge in self.extra_edges for joint in edge]
        unknown = sorted({*self.parents, self.center, *(self.shoulders or ()), *extra} - known)
        if unknown:
            raise ValueError(
                f'layout {self.name!r} refers to unknown joints {unknown}; it has '
                f'{list(self.joints)}'
            )

        unpaired = sorted(joint for joint in known if mirror_name(joint, known) is None)
        if unpaired:
            raise ValueError(
                f'layout {self.name!r} has joints without a mirror image: {unpaired}; left and '
                'right joints come in pairs'
            )

    def _check_tree(self) -> None:
        parent = dict(zip(self.joints, self.parents))
        for joint in self.joints:
            ancestor = joint
            for _ in self.joints:
                ancestor = parent[ancestor]
            if parent[ancestor] != ancestor:
                raise ValueError(
                    f'layout {self.name!r}: joint {joint!r} has no root among its ancestors; the '
                    'root is its own parent'
                )

    def index(self, joint: str) -> int:
        """Return the 0-based index of a joint."""
        return self.joints.index(joint)

    @property
    def num_joints(self) -> int:
        """Number of joints V."""
        return len(self.joints)

    @cached_property
    def bones(self) -> tuple[int, ...]:
        """Parent index of each joint, (V,); the root is its own parent."""
        return tuple(self.index(parent) for parent in self.parents)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Graph edges ``(joint, neighbor towards the center)`` without self-links."""
        neighbors = {**dict(zip(self.joints, self.parents)), **dict(self.extra_edges)}
        return tuple((self.index(a), self.index(b)) for a, b in neighbors.items() if a != b)

    @cached_property
    def degrees(self) -> tuple[int, ...]:
        """Number of neighbors of each joint in the graph, (V,)."""
        ends = [joint for edge in self.edges for joint in edge]
        return tuple(ends.count(joint) for joint in range(self.num_joints))

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """Index of the mirror image of each joint, (V,); midline joints map to themselves."""
        return tuple(self.index(mirror_name(name, self.joints)) for name in self.joints)

    @property
    def center_index(self) -> int:
        """Index of the center."""
        return self.index(self.center)

    @property
    def shoulder_indices(self) -> tuple[int, int]:
        """Indices of the left and the right shoulder.

        Raises:
            ValueError: if the layout has none.
        """
        if self.shoulders is None:
            raise ValueError(
                f'layout {self.name!r} has no shoulders; name two joints as shoulders: [left, '
                'right] of the layout, or leave AlignShoulders out'
            )
        return self.index(self.shoulders[0]), self.index(self.shoulders[1])

    def to_config(self) -> str | dict:
        """Return the argument of :func:`get_layout` for this layout: its name or its fields."""
        return self.name if LAYOUTS.get(self.name) is self else asdict(self)

    def graph(self) -> dict:
        """Return the layout argument of mmaction2's ``Graph``."""
        return dict(num_node=self.num_joints, inward=list(self.edges), center=self.center_index)


def _layout(name: str, center: str, bones: str, **kwargs) -> Layout:
    """Build a layout from a text of ``joint<parent``."""
    joints, parents = zip(*(bone.split('<') for bone in bones.split()))
    return Layout(name, joints, parents, center, **kwargs)


# Kinect v2, in the order of NTU RGB+D and PKU-MMD. Hand tips are connected to the thumbs, as in the
# graph and the bone pairs of the released code; mmaction2's 'nturgb+d' graph connects both to the
# hand.
NTU25 = _layout(
    'ntu25',
    'spine_shoulder',
    """
    spine_base<spine_mid spine_mid<spine_shoulder neck<spine_shoulder head<neck
    left_shoulder<spine_shoulder left_elbow<left_shoulder
    left_wrist<left_elbow left_hand<left_wrist
    right_shoulder<spine_shoulder right_elbow<right_shoulder
    right_wrist<right_elbow right_hand<right_wrist
    left_hip<spine_base left_knee<left_hip left_ankle<left_knee left_foot<left_ankle
    right_hip<spine_base right_knee<right_hip right_ankle<right_knee right_foot<right_ankle
    spine_shoulder<spine_shoulder
    left_hand_tip<left_thumb left_thumb<left_hand
    right_hand_tip<right_thumb right_thumb<right_hand""",
)

# Kinect v1, in the order of the Kinect SDK (NW-UCLA; UTD-MHAD and MSR Action3D after reordering).
KINECT20 = _layout(
    'kinect20',
    'shoulder_center',
    """
    hip_center<spine spine<shoulder_center shoulder_center<shoulder_center head<shoulder_center
    left_shoulder<shoulder_center left_elbow<left_shoulder
    left_wrist<left_elbow left_hand<left_wrist
    right_shoulder<shoulder_center right_elbow<right_shoulder
    right_wrist<right_elbow right_hand<right_wrist
    left_hip<hip_center left_knee<left_hip left_ankle<left_knee left_foot<left_ankle
    right_hip<hip_center right_knee<right_hip right_ankle<right_knee right_foot<right_ankle""",
)

# COCO keypoints: 2-D poses of mmpose and mmaction2. As in mmaction2, the bone of a hip ends at the
# nose, its graph edge at the shoulder.
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

# OpenNI 1 (NITE): the 15 joints it tracks, in the order of XnSkeletonJoint (XnTypes.h); SBU Kinect
# Interaction has the same order. NiTE 2 numbers both shoulders first: reorder its joints.
OPENNI15 = _layout(
    'openni15',
    'torso',
    """
    head<neck neck<torso torso<torso
    left_shoulder<neck left_elbow<left_shoulder left_hand<left_elbow
    right_shoulder<neck right_elbow<right_shoulder right_hand<right_elbow
    left_hip<torso left_knee<left_hip left_foot<left_knee
    right_hip<torso right_knee<right_hip right_foot<right_knee""",
)

# Azure Kinect: k4abt_joint_id_t and the joint hierarchy of the body tracking documentation
# (learn.microsoft.com/azure/kinect-dk/body-joints).
AZURE32 = _layout(
    'azure32',
    'pelvis',
    """
    pelvis<pelvis spine_navel<pelvis spine_chest<spine_navel neck<spine_chest
    left_clavicle<spine_chest left_shoulder<left_clavicle left_elbow<left_shoulder
    left_wrist<left_elbow left_hand<left_wrist left_hand_tip<left_hand left_thumb<left_wrist
    right_clavicle<spine_chest right_shoulder<right_clavicle right_elbow<right_shoulder
    right_wrist<right_elbow right_hand<right_wrist right_hand_tip<right_hand
    right_thumb<right_wrist
    left_hip<pelvis left_knee<left_hip left_ankle<left_knee left_foot<left_ankle
    right_hip<pelvis right_knee<right_hip right_ankle<right_knee right_foot<right_ankle
    head<neck nose<head left_eye<head left_ear<head right_eye<head right_ear<head""",
)

# MediaPipe pose (BlazePose): landmarks and connections of its pose landmarker documentation. The
# world landmarks are in meters around the middle of the hips. There is no joint in the torso: as in
# COCO, shoulders are connected to the nose.
MEDIAPIPE33 = _layout(
    'mediapipe33',
    'nose',
    """
    nose<nose left_eye_inner<nose left_eye<left_eye_inner left_eye_outer<left_eye
    right_eye_inner<nose right_eye<right_eye_inner right_eye_outer<right_eye
    left_ear<left_eye_outer right_ear<right_eye_outer left_mouth<nose right_mouth<nose
    left_shoulder<nose right_shoulder<nose left_elbow<left_shoulder right_elbow<right_shoulder
    left_wrist<left_elbow right_wrist<right_elbow left_pinky<left_wrist right_pinky<right_wrist
    left_index<left_wrist right_index<right_wrist left_thumb<left_wrist right_thumb<right_wrist
    left_hip<left_shoulder right_hip<right_shoulder left_knee<left_hip right_knee<right_hip
    left_ankle<left_knee right_ankle<right_knee left_heel<left_ankle right_heel<right_ankle
    left_foot_index<left_heel right_foot_index<right_heel""",
)
MEDIAPIPE33_2D = replace(MEDIAPIPE33, name='mediapipe33_2d', dims=2)  # landmarks in the image

# OpenPose: POSE_COCO_BODY_PARTS and POSE_BODY_25_BODY_PARTS (doc/02_output.md). In openpose18 a hip
# is connected to the shoulder, as in the graphs of ST-GCN and mmaction2.
OPENPOSE18 = _layout(
    'openpose18',
    'neck',
    """
    nose<neck neck<neck
    right_shoulder<neck right_elbow<right_shoulder right_wrist<right_elbow
    left_shoulder<neck left_elbow<left_shoulder left_wrist<left_elbow
    right_hip<right_shoulder right_knee<right_hip right_ankle<right_knee
    left_hip<left_shoulder left_knee<left_hip left_ankle<left_knee
    right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye""",
    dims=2,
)
OPENPOSE25 = _layout(
    'openpose25',
    'neck',
    """
    nose<neck neck<neck
    right_shoulder<neck right_elbow<right_shoulder right_wrist<right_elbow
    left_shoulder<neck left_elbow<left_shoulder left_wrist<left_elbow
    mid_hip<neck right_hip<mid_hip right_knee<right_hip right_ankle<right_knee
    left_hip<mid_hip left_knee<left_hip left_ankle<left_knee
    right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye
    left_big_toe<left_ankle left_small_toe<left_big_toe left_heel<left_ankle
    right_big_toe<right_ankle right_small_toe<right_big_toe right_heel<right_ankle""",
    dims=2,
)

# Halpe (github.com/Fang-Haoshu/Halpe-FullBody: README.md, vis.py), body keypoints of AlphaPose and
# mmpose: `head` is the top of the head. The project draws the face apart from the body; here the
# nose is connected to the neck.
HALPE26 = _layout(
    'halpe26',
    'neck',
    """
    nose<neck left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye
    left_shoulder<neck right_shoulder<neck left_elbow<left_shoulder right_elbow<right_shoulder
    left_wrist<left_elbow right_wrist<right_elbow left_hip<hip right_hip<hip
    left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee
    head<neck neck<neck hip<neck
    left_big_toe<left_heel right_big_toe<right_heel left_small_toe<left_heel
    right_small_toe<right_heel left_heel<left_ankle right_heel<right_ankle""",
    dims=2,
)

# MediaPipe hands: HandLandmark and HAND_CONNECTIONS; the middle of the palm is not among the
# landmarks, so all fingers are connected to the wrist, as OpenPose and Halpe do.
HANDS21 = _layout(
    'hands21',
    'wrist',
    """
    wrist<wrist thumb_cmc<wrist thumb_mcp<thumb_cmc thumb_ip<thumb_mcp thumb_tip<thumb_ip
    index_finger_mcp<wrist index_finger_pip<index_finger_mcp
    index_finger_dip<index_finger_pip index_finger_tip<index_finger_dip
    middle_finger_mcp<wrist middle_finger_pip<middle_finger_mcp
    middle_finger_dip<middle_finger_pip middle_finger_tip<middle_finger_dip
    ring_finger_mcp<wrist ring_finger_pip<ring_finger_mcp
    ring_finger_dip<ring_finger_pip ring_finger_tip<ring_finger_dip
    pinky_mcp<wrist pinky_pip<pinky_mcp pinky_dip<pinky_pip pinky_tip<pinky_dip""",
    shoulders=('index_finger_mcp', 'pinky_mcp'),  # the line that AlignShoulders turns
)
HANDS21_2D = replace(HANDS21, name='hands21_2d', dims=2)

# Motion capture (BVH): the joints that the skeletons of MotionBuilder, Mixamo, LaFAN1, CMU and
# Biovision have in common; aimclr_mm.datasets.own_files.bvh finds them.
MOCAP21 = _layout(
    'mocap21',
    'spine_chest',
    """
    hip_center<spine spine<spine_chest spine_chest<spine_chest neck<spine_chest head<neck
    left_clavicle<spine_chest left_shoulder<left_clavicle
    left_elbow<left_shoulder left_wrist<left_elbow
    right_clavicle<spine_chest right_shoulder<right_clavicle
    right_elbow<right_shoulder right_wrist<right_elbow
    left_hip<hip_center left_knee<left_hip left_ankle<left_knee left_foot<left_ankle
    right_hip<hip_center right_knee<right_hip right_ankle<right_knee right_foot<right_ankle""",
)

_TABLE = (
    NTU25,
    KINECT20,
    OPENNI15,
    AZURE32,
    MOCAP21,
    HANDS21,
    HANDS21_2D,
    MEDIAPIPE33,
    COCO17,
    OPENPOSE18,
    OPENPOSE25,
    HALPE26,
    MEDIAPIPE33_2D,
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _TABLE}

# what get_layout accepts: a name, the path of a YAML file, a mapping of fields, or a layout
LayoutLike = str | Mapping | Layout


def get_layout(layout: LayoutLike) -> Layout:
    """Return a layout of the table, or build one from a mapping or a YAML file.

    Args:
        layout: a name in the table, a mapping with the fields of :class:`Layout`, or the path of a
            ``.yaml`` or ``.yml`` file with them. A file may give ``bones: {joint: parent, ...}``,
            in the order of the data, instead of ``joints`` and ``parents``.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the name is not in the table or the fields do not form a layout.
    """
    if isinstance(layout, Layout):
        return layout

    if isinstance(layout, Mapping):
        return _from_mapping(layout)

    if isinstance(layout, str) and layout.lower().endswith(('.yaml', '.yml')):
        fields = read_fields(layout)
        try:
            return _from_mapping(fields)
        except ValueError as error:
            raise ValueError(f'layout file {layout!r}: {error}') from error

    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(
            f'unknown joint layout {layout!r}; known are {sorted(LAYOUTS)}, or give a mapping with '
            'joints, parents and center, or the path of a .yaml file with them'
        )
    return LAYOUTS[layout]


def _from_mapping(fields: Mapping[str, Any]) -> Layout:
    """Build a layout from its fields; lists become tuples."""
    arguments = {
        key: tuple(value) if isinstance(value, (list, tuple)) else value
        for key, value in fields.items()
    }
    arguments.setdefault('name', 'custom')
    if 'extra_edges' in arguments:
        arguments['extra_edges'] = tuple(map(tuple, arguments['extra_edges']))

    try:
        return Layout(**arguments)
    except TypeError as error:
        raise ValueError(f'the layout {dict(fields)} cannot be made: {error}') from error
