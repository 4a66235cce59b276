"""The joint table against the conventions of the field, typed by hand."""

import dataclasses
import re

import numpy as np
import pytest
from mmaction.datasets.transforms import JointToBone
from mmaction.models.utils import Graph

from aimclr_mm.skeletons import COCO17, KINECT20, LAYOUTS, NTU25, Layout, get_layout

from .conventions import (
    COCO_BONES,
    COCO_EDGES,
    COCO_MIRROR,
    NTU_BONES,
    NTU_MIRROR,
    PROJECT_BONES,
    PROJECT_JOINTS,
    PROJECT_MIRROR,
    UCLA_EDGES,
    UCLA_MIRROR,
)

ARM = dict(
    joints=['left_hand', 'chest', 'right_hand', 'left_shoulder', 'right_shoulder'],
    parents=['left_shoulder', 'chest', 'right_shoulder', 'chest', 'chest'],
    center='chest',
)
all_layouts = pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)


def zero_based(pairs):
    return {(a - 1, b - 1) for a, b in pairs}


def adjacency(layout) -> np.ndarray:
    return Graph(layout=layout, mode='stgcn_spatial').A


# openpose/doc/02_output.md and pose/poseParameters.cpp; Halpe-FullBody/README.md and vis.py
BODY_25 = (
    'nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip '
    'right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear '
    'left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel'
)
HALPE_26 = (
    'nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow '
    'right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle '
    'right_ankle head neck hip left_big_toe right_big_toe left_small_toe right_small_toe '
    'left_heel right_heel'
)
HALPE_FEET = {(20, 24), (21, 25), (23, 25), (22, 24), (15, 24), (16, 25)}
HALPE_BODY = {(5, 18), (6, 18), (5, 7), (7, 9), (6, 8), (8, 10), (17, 18), (18, 19), (19, 11)}
HALPE_BODY |= {(19, 12), (11, 13), (12, 14), (13, 15), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4)}
HAND = {(0, 1), (0, 5), (0, 17), (0, 9), (0, 13)}  # MediaPipe connects 9 and 13 to 5 and 17
HAND |= {(a, a + 1) for finger in range(1, 21, 4) for a in range(finger, finger + 3)}


def limbs(layout) -> set[tuple[int, int]]:
    return {(min(edge), max(edge)) for edge in layout.edges}


def test_orders_and_limbs_of_openpose_halpe_and_hands():
    assert LAYOUTS['openpose25'].joints == tuple(BODY_25.split())
    assert LAYOUTS['halpe26'].joints == tuple(HALPE_26.split())
    both = {(min(edge), max(edge)) for edge in HALPE_BODY | HALPE_FEET}
    assert limbs(LAYOUTS['halpe26']) - both == {(0, 18)} and both <= limbs(LAYOUTS['halpe26'])
    assert limbs(LAYOUTS['hands21']) == HAND


def test_known_layouts():
    counts = dict(ntu25=25, kinect20=20, openni15=15, azure32=32, mediapipe33=33)
    counts.update(mocap21=21, hands21=21)
    counts_2d = dict(coco17=17, openpose18=18, openpose25=25, halpe26=26, mediapipe33_2d=33)
    counts_2d.update(hands21_2d=21)
    assert {name: layout.num_joints for name, layout in LAYOUTS.items()} == counts | counts_2d
    assert {name for name, layout in LAYOUTS.items() if layout.dims == 2} == set(counts_2d)
    assert all(
        name == layout.name and get_layout(name) is layout for name, layout in LAYOUTS.items()
    )


def test_ntu25():
    assert set(enumerate(NTU25.bones)) == zero_based(NTU_BONES)
    assert set(NTU25.edges) == zero_based(NTU_BONES) - {(20, 20)} and len(NTU25.edges) == 24
    assert list(NTU25.mirror) == NTU_MIRROR
    assert (NTU25.center_index, NTU25.shoulder_indices) == (20, (4, 8))
    names = ('head', 'left_hand', 'right_hand', 'left_foot', 'left_thumb')
    assert [NTU25.index(name) for name in names] == [3, 7, 11, 15, 22]


def test_kinect20():
    assert set(KINECT20.edges) == zero_based(UCLA_EDGES) and len(KINECT20.edges) == 19
    assert set(enumerate(KINECT20.bones)) == zero_based(UCLA_EDGES) | {(2, 2)}
    assert list(KINECT20.mirror) == UCLA_MIRROR
    assert (KINECT20.center_index, KINECT20.shoulder_indices) == (2, (4, 8))


def test_coco17():
    assert list(enumerate(COCO17.bones)) == COCO_BONES
    assert set(COCO17.edges) == set(COCO_EDGES) and len(COCO17.edges) == 16
    assert list(COCO17.mirror) == COCO_MIRROR
    assert (COCO17.center_index, COCO17.shoulder_indices) == (0, (5, 6))
    assert COCO17.joints[9:11] == ('left_wrist', 'right_wrist')


def words(name: str) -> frozenset[str]:
    """Return the words of a joint's name in any order: LShoulder, ShoulderLeft, left_shoulder."""
    name = re.sub('^([LR])(?=[A-Z])', lambda side: dict(L='left_', R='right_')[side[1]], name)
    return frozenset(re.sub('(?<=[a-z])(?=[A-Z])', '_', name).lower().split('_'))


@pytest.mark.parametrize('name', PROJECT_JOINTS)
def test_joints_are_in_the_order_of_their_project(name):
    layout = get_layout(name)
    assert list(map(words, layout.joints)) == list(map(words, PROJECT_JOINTS[name].split()))
    moved = {(a, b) for a, b in enumerate(layout.mirror) if a < b}
    assert moved == set(PROJECT_MIRROR[name])


# bones that the projects do not draw, as their graphs have several parts or are connected otherwise
@pytest.mark.parametrize(
    'name, own',
    [
        ('openni15', set()),
        ('azure32', set()),
        ('mediapipe33', {(0, 9), (0, 10), (0, 11), (0, 12)}),
        ('openpose25', set()),
        ('halpe26', {(0, 18)}),
    ],
)
def test_bones_are_those_of_their_project(name, own):
    drawn = {tuple(sorted(bone)) for bone in PROJECT_BONES[name]}
    assert {tuple(sorted(bone)) for bone in get_layout(name).edges} - drawn == own
    if name != 'mediapipe33':  # its drawing has cycles
        assert len(get_layout(name).edges) == len(drawn | own)


@pytest.mark.parametrize(
    'name, center, shoulders',
    [
        ('openni15', 2, (3, 6)),
        ('azure32', 0, (5, 12)),
        ('mediapipe33', 0, (11, 12)),
        ('openpose18', 1, (5, 2)),
        ('openpose25', 1, (5, 2)),
        ('halpe26', 18, (5, 6)),
    ],
)
def test_centre_and_shoulders(name, center, shoulders):
    layout = get_layout(name)
    assert (layout.center_index, layout.shoulder_indices) == (center, shoulders)


def test_mediapipe_in_the_image_differs_in_the_coordinates_only():
    flat = dataclasses.replace(get_layout('mediapipe33_2d'), name='mediapipe33', dims=3)
    assert flat == get_layout('mediapipe33')


def test_openpose_graph_is_that_of_mmaction2():
    np.testing.assert_array_equal(
        adjacency(get_layout('openpose18').graph()), adjacency('openpose')
    )


@pytest.mark.parametrize('layout, dataset', [(NTU25, 'nturgb+d'), (COCO17, 'coco')])
def test_bones_are_those_of_mmaction2(layout, dataset):
    assert set(enumerate(layout.bones)) == set(JointToBone(dataset).pairs)


def test_coco_graph_is_that_of_mmaction2():
    np.testing.assert_array_equal(adjacency(COCO17.graph()), adjacency('coco'))


def test_ntu_graph_differs_from_mmaction2_in_the_hand_tips_only():
    ours, theirs = (
        Graph(layout=NTU25.graph(), mode='spatial'),
        Graph(layout='nturgb+d', mode='spatial'),
    )
    assert set(ours.inward) - set(theirs.inward) == {(21, 22), (23, 24)}
    assert set(theirs.inward) - set(ours.inward) == {(21, 7), (23, 11)}
    assert (ours.center, ours.num_node) == (theirs.center, theirs.num_node)
    rehung = [{(21, 22): (21, 7), (23, 24): (23, 11)}.get(edge, edge) for edge in NTU25.edges]
    np.testing.assert_array_equal(
        adjacency(dict(NTU25.graph(), inward=rehung)), adjacency('nturgb+d')
    )


@all_layouts
def test_mirror_is_an_involution(layout):
    mirror = layout.mirror
    assert [mirror[j] for j in mirror] == list(range(layout.num_joints))
    moved = [j for j in range(layout.num_joints) if mirror[j] != j]
    assert moved == [
        j for j, name in enumerate(layout.joints) if name.startswith(('left_', 'right_'))
    ]
    assert {(mirror[a], mirror[b]) for a, b in layout.edges} == set(layout.edges)
    if layout.name.startswith('hands21'):
        return
    left, right = layout.shoulder_indices
    assert mirror[left] == right and layout.joints[left].startswith('left_')


@all_layouts
def test_edges_form_a_tree_towards_the_center(layout):
    towards = dict(layout.edges)
    assert len(towards) == len(layout.edges) == layout.num_joints - 1
    for joint in range(layout.num_joints):
        steps = 0
        while joint != layout.center_index:
            joint, steps = towards[joint], steps + 1
            assert steps < layout.num_joints


@all_layouts
def test_one_root_of_the_bones(layout):
    assert [j for j, parent in enumerate(layout.bones) if j == parent] == [layout.center_index]


def test_layout_from_mapping():
    layout = get_layout(dict(ARM, dims=2, extra_edges=[['left_hand', 'chest']]))
    assert layout.name == 'custom' and layout.num_joints == 5 and layout.dims == 2
    assert layout.bones == (3, 1, 4, 1, 1)
    assert layout.edges == ((0, 1), (2, 4), (3, 1), (4, 1))
    assert layout.mirror == (2, 1, 0, 4, 3)
    assert layout.graph() == dict(num_node=5, inward=[(0, 1), (2, 4), (3, 1), (4, 1)], center=1)
    assert get_layout(layout) is layout and hash(layout) == hash(
        get_layout(dataclasses.asdict(layout))
    )


def test_table_layout_survives_a_mapping():
    assert get_layout(dataclasses.asdict(COCO17)) == COCO17


def test_unknown_name_lists_known_ones():
    with pytest.raises(ValueError, match=r"'ntu60'.*azure32.*coco17.*kinect20.*ntu25"):
        get_layout('ntu60')


@pytest.mark.parametrize(
    'change, message',
    [
        (
            dict(parents=['elbow', 'chest', 'chest', 'chest', 'chest']),
            r"'custom'.*\['elbow'\].*right_hand",
        ),
        (dict(center='hip'), r"\['hip'\].*chest"),
        (dict(shoulders=['left_shoulder', 'wing']), r"\['wing'\]"),
        (dict(extra_edges=[['left_hand', 'tail']]), r"\['tail'\]"),
        (dict(parents=['chest', 'chest']), '5 joints but 2 parents'),
        (dict(joints=['chest'] * 5), 'names a joint twice'),
        (dict(dims=4), 'dims=4.*2 or 3'),
        (
            dict(joints=['left_hand', 'chest', 'tail', 'left_shoulder', 'right_shoulder']),
            r"mirror image: \['left_hand'\]",
        ),
        (
            dict(parents=['left_shoulder', 'left_shoulder', 'right_shoulder', 'chest', 'chest']),
            'no root',
        ),
        (dict(color='red'), 'color'),
    ],
)
def test_bad_layout(change, message):
    assert get_layout(ARM).num_joints == 5
    with pytest.raises(ValueError, match=message):
        get_layout(dict(ARM, **change))


def test_layout_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NTU25.center = 'neck'
    assert isinstance(NTU25, Layout)
