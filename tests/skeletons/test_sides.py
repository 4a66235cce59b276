"""Left and right in the names of joints, and layouts without shoulders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.skeletons.sides import find_pair, mirror_name
from aimclr_mm.transforms import AlignShoulders

SPELLINGS = {
    'left_{}': 'right_{}',
    '{}_left': '{}_right',
    '{}Left': '{}Right',
    'Left {}': 'Right {}',
    '{}.left': '{}.right',
    'LEFT_{}': 'RIGHT_{}',
    'l_{}': 'r_{}',
    'L_{}': 'R_{}',
    '{}_l': '{}_r',
    '{}.L': '{}.R',
}
CAMEL = {
    'Left{}': 'Right{}',
    'L{}': 'R{}',
    'l{}': 'r{}',
    '{}L': '{}R',
    'mixamorig:Left{}': 'mixamorig:Right{}',
}
PARTS = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')


@given(st.sampled_from([*SPELLINGS.items(), *CAMEL.items()]), st.permutations(PARTS))
def test_any_spelling_of_sides(spelling, parts):
    is_camel = spelling in CAMEL.items()
    parts = [part.capitalize() if is_camel else part for part in parts]
    left, right = ([side.format(part) for part in parts] for side in spelling)
    joints = ['head', 'spine', *left, *right]
    mirrors = [mirror_name(joint, joints) for joint in joints]
    assert mirrors == ['head', 'spine', *right, *left]
    shoulder = parts.index('Shoulder' if is_camel else 'shoulder')
    if 'mixamorig' not in spelling[0]:
        assert find_pair('shoulder', joints) == (left[shoulder], right[shoulder])


@pytest.mark.parametrize('name', ['lumbar', 'rib', 'clavicle', 'L5', 'bright', 'cleft', 'Lower'])
def test_names_without_a_side(name):
    joints = [name, 'head', 'rumbar', 'lib']
    assert mirror_name(name, joints) == name


@pytest.mark.parametrize('name', ['left_hand', 'HandRight', 'Left Hand'])
def test_a_side_without_its_opposite_is_refused(name):
    with pytest.raises(ValueError, match='without a mirror image'):
        Layout('own', ('spine', name), ('spine', 'spine'), 'spine')


def test_own_layouts(tmp_path):
    (tmp_path / 'kinect.yaml').write_text(
        'bones: {Hip: Hip, Spine: Hip, ShoulderLeft: Spine, ShoulderRight: Spine}\ncenter: Spine\n'
    )
    layout = get_layout(str(tmp_path / 'kinect.yaml'))
    assert layout.mirror == (0, 1, 3, 2) and layout.shoulders == ('ShoulderLeft', 'ShoulderRight')
    assert get_layout(layout.to_config()) == layout
    x = np.random.default_rng(0).normal(size=(1, 5, 4, 3)).astype(np.float32)
    turned = AlignShoulders(layout)(dict(keypoint=x))['keypoint']
    assert not np.allclose(turned, x)


def test_a_hand_has_no_shoulders(tmp_path):
    (tmp_path / 'hand.yaml').write_text('bones: {wrist: wrist, tip: wrist}\ncenter: wrist\n')
    layout = get_layout(str(tmp_path / 'hand.yaml'))
    assert layout.shoulders is None and layout.mirror == (0, 1)
    assert get_layout(layout.to_config()) == layout
    with pytest.raises(ValueError, match='no shoulders; name two joints .*leave AlignShoulders'):
        AlignShoulders(layout)
