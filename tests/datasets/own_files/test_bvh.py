"""Motion capture: positions of a small skeleton that are known by hand."""

import numpy as np
import pytest

from aimclr_mm.datasets.own_files.fields import read_fields
from aimclr_mm.datasets.readers import RecordingError, SourceFile
from aimclr_mm.skeletons import MOCAP21, NTU25, Layout

pytest.importorskip('bvhio')

ARM = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Elbow
  {
    OFFSET 2 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 1 0 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.033333
0 0 0 0 0 0 0 0 0
10 20 30 90 0 0 0 0 0
0 0 0 90 0 0 90 0 0
"""
ARM_LAYOUT = Layout(
    'arm',
    ('Elbow_end', 'Hips', 'Elbow'),
    ('Elbow', 'Hips', 'Hips'),
    'Hips',
    shoulders=('Elbow', 'Elbow_end'),
)


@pytest.fixture
def read(tmp_path):
    def reader(text: str, layout=ARM_LAYOUT) -> np.ndarray:
        path = tmp_path / 'a.bvh'
        path.write_text(text)
        return read_fields(SourceFile.of(str(path), 'a.bvh'), layout)['keypoint'][0]

    return reader


def test_positions(read):
    """Straight; moved and turned by 90 degrees; turned again at the elbow."""
    expected = [
        [[3, 0, 0], [0, 0, 0], [2, 0, 0]],
        [[10, 23, 30], [10, 20, 30], [10, 22, 30]],
        [[-1, 2, 0], [0, 0, 0], [0, 2, 0]],
    ]
    np.testing.assert_allclose(read(ARM), expected, atol=1e-5)
    np.testing.assert_allclose(read(ARM.replace('\n', '\r\n')), expected, atol=1e-5)


def test_order_of_rotations(read):
    """Z then X, intrinsic: x of the bone turns to y by Z; X then turns about the new x axis."""
    text = ARM.replace('0 0 0 0 0 0 0 0 0', '0 0 0 90 90 0 0 0 0').replace(
        'OFFSET 2 0 0', 'OFFSET 0 2 0'
    )
    np.testing.assert_allclose(read(text)[0, 2], [0, 0, 2], atol=1e-5)


PARTS = ('UpLeg', 'Leg', 'Foot', 'ToeBase'), ('Shoulder', 'Arm', 'ForeArm', 'Hand')
BIOVISION = ('Hip', 'Knee', 'Ankle', 'Toe'), ('Collar', 'Shoulder', 'Elbow', 'Wrist')


def body(parts, spine: list[str], prefix: str = '') -> str:
    """A skeleton in the rest pose: each joint one up (spine) or one to the side from the last."""

    def chain(names, offset, children=()) -> str:
        first, *rest = names
        inner = (
            chain(rest, offset) if rest else ''.join(children) or 'End Site\n{\nOFFSET 0 1 0\n}\n'
        )
        if rest and children:
            inner = chain(rest, offset, children)
        return (
            f'JOINT {prefix}{first}\n{{\nOFFSET {offset}\n'
            f'CHANNELS 3 Zrotation Xrotation Yrotation\n{inner}}}\n'
        )

    legs, arms = parts
    sides = dict(Left='1 0 0', Right='-1 0 0')
    arm = [chain([side + part for part in arms], offset) for side, offset in sides.items()]
    leg = [chain([side + part for part in legs], offset) for side, offset in sides.items()]
    trunk = chain(spine, '0 1 0', [chain(['Neck', 'Head'], '0 1 0'), *arm])
    joints = 1 + len(spine) + 2 + 16
    return (
        f'HIERARCHY\nROOT {prefix}Hips\n{{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition '
        f'Zrotation Xrotation Yrotation\n{trunk}{"".join(leg)}}}\nMOTION\nFrames: 1\n'
        f'Frame Time: 0.01\n0 5 0{" 0" * 3 * joints}\n'
    )


@pytest.mark.parametrize(
    'text, chest',
    [
        (body(PARTS, ['Spine', 'Spine1']), 2),  # CMU
        (body(PARTS, ['Spine', 'Spine1', 'Spine2'], 'mixamorig:'), 3),  # Mixamo, LaFAN1
        (body(BIOVISION, ['Chest', 'Chest2']), 2),
    ],
)
def test_names_of_the_usual_skeletons(read, text, chest):
    x = dict(zip(MOCAP21.joints, read(text, MOCAP21)[0]))
    np.testing.assert_allclose(x['hip_center'], [0, 5, 0], atol=1e-6)
    np.testing.assert_allclose(x['spine'], [0, 6, 0], atol=1e-6)
    np.testing.assert_allclose(x['spine_chest'], [0, 5 + chest, 0], atol=1e-6)
    np.testing.assert_allclose(x['head'], [0, 7 + chest, 0], atol=1e-6)
    for step, (arm, leg) in enumerate(
        [('clavicle', 'hip'), ('shoulder', 'knee'), ('elbow', 'ankle'), ('wrist', 'foot')], 1
    ):
        np.testing.assert_allclose(x[f'left_{arm}'], [step, 5 + chest, 0], atol=1e-6)
        np.testing.assert_allclose(x[f'right_{arm}'], [-step, 5 + chest, 0], atol=1e-6)
        np.testing.assert_allclose(x[f'right_{leg}'], [-step, 5, 0], atol=1e-6)


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'is not a BVH file'),
        (ARM[:-20], 'states 3 frames and has'),
        (ARM.replace('Frames: 3', 'Frames: 99999999'), 'states 99999999 frames and has 3'),
        (
            ARM.replace('90 0 0\n', '90 0\n'),
            r'frame 3 .counted from 1. has 8 values; .* 9 channels',
        ),
        (ARM.replace('10 20', 'x 20'), r"frame 2 .counted from 1. has the value 'x'"),
        (ARM.replace('10 20', '10 nan'), "has the value 'nan'"),
        (ARM.replace('  }\n}\nMOTION', 'MOTION'), 'is not a readable BVH file'),
        (ARM.replace('{', '{' * 200), '602 joints within each other|joints within each other'),
    ],
)
def test_damaged_files(read, text, message):
    with pytest.raises(RecordingError, match=message):
        read(text)


def test_missing_joints_are_named(read):
    with pytest.raises(RecordingError, match='no joint for spine_base.*ntu25; it has Hips, Elbow'):
        read(ARM, NTU25)
