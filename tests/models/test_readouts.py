"""Readouts of feature maps, against naive loops and values computed by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aimclr_mm.models.backbones import AimCLRSTGCN, FastSTGCN
from aimclr_mm.models.encoder import pool
from aimclr_mm.models.readouts import (
    MAP_READOUTS,
    READOUTS,
    input_path,
    read_out,
    represent,
    segment_weights,
)
from aimclr_mm.skeletons import COCO17, LAYOUTS, NTU25, Layout
from aimclr_mm.skeletons.parts import PARTS, body_parts

WIDTHS = dict(mean=1, mean_std=2, segments=3, parts=5, cells=15)


def feature_map(frames=12, layout=NTU25, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 2, 4, frames, layout.num_joints, generator=generator).double()


@pytest.mark.parametrize('readout', MAP_READOUTS)
def test_readouts_equal_a_naive_loop(readout):
    x = feature_map(frames=12)
    parts = [list(part) for part in body_parts(NTU25).values()]
    groups = parts if readout in ('parts', 'cells') else [list(range(25))]
    spans = [(0, 4), (4, 8), (8, 12)] if readout in ('segments', 'cells') else [(0, 12)]
    for sample, found in zip(x.numpy(), read_out(x, readout, NTU25).numpy()):
        people = []
        for person in sample:  # (C, T, V)
            blocks = [
                person[:, start:end][:, :, joints].mean(axis=(1, 2))
                for joints in groups
                for start, end in spans
            ]
            if readout == 'mean_std':
                blocks.append(person.mean(axis=2).std(axis=1))
            people.append(np.concatenate(blocks))
        np.testing.assert_allclose(found, np.mean(people, axis=0), rtol=1e-12)
        assert len(found) == 4 * WIDTHS[readout]


@pytest.mark.parametrize('frames', [1, 2, 3, 7, 13])
def test_segments_average_to_the_mean_for_any_number_of_frames(frames):
    x = feature_map(frames)
    segments = read_out(x, 'segments').view(3, 3, 4)
    torch.testing.assert_close(segments.mean(dim=1), pool(x))
    cells = read_out(x, 'cells', NTU25).view(3, 5, 3, 4)
    torch.testing.assert_close(cells.mean(dim=2).flatten(1), read_out(x, 'parts', NTU25))


def test_a_frame_on_a_border_counts_for_both_segments():
    expected = torch.tensor([[3.0, 1, 0, 0], [0, 2, 2, 0], [0, 0, 1, 3]]).double() / 4
    torch.testing.assert_close(segment_weights(4, 3), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('readout', MAP_READOUTS)
def test_half_precision_keeps_its_type_and_sums_in_float32(readout, dtype):
    x = (feature_map() + 100).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = read_out(x, readout, NTU25)
    assert found.dtype == dtype
    torch.testing.assert_close(found, read_out(x.double(), readout, NTU25).to(dtype))


@pytest.mark.parametrize('readout', READOUTS)
def test_fast_network_gives_the_same_representation_with_an_absent_person(readout):
    torch.manual_seed(0)
    network = AimCLRSTGCN(base_channels=2, out_channels=6).eval()
    fast = FastSTGCN(base_channels=2, out_channels=6).eval()
    fast.load_state_dict(network.state_dict())
    x = torch.randn(2, 2, 20, 25, 3)
    x[0, 1] = 0
    with torch.no_grad():
        expected = represent(network, x, readout)
        width = 18 + 8 * 25 * 3 if readout == 'segments_input' else 6 * WIDTHS[readout]
        assert expected.shape == (2, width)
        torch.testing.assert_close(represent(fast, x, readout), expected, rtol=1e-3, atol=1e-4)


def test_input_path_averages_people_and_eighths_of_time():
    x = torch.zeros(1, 2, 16, 17, 3)
    x[0, 0, :2, 4] = torch.tensor([3.0, 5.0, 0.9])  # the first eighth, one of two people
    path = input_path(x, dims=2).view(8, 17, 2)
    assert path[0, 4].tolist() == [1.5, 2.5]  # without the score
    path[0, 4] = 0
    assert not path.any()
    half = input_path(x.bfloat16() + 100, dims=2)
    assert half.dtype == torch.bfloat16 and (half >= 100).all()


def test_similarity_with_the_input_is_the_mean_of_both():
    torch.manual_seed(0)
    network = AimCLRSTGCN(base_channels=2, out_channels=6).eval()
    x = torch.randn(4, 1, 32, 25, 3)
    with torch.no_grad():
        both = represent(network, x, 'segments_input')
        h = represent(network, x, 'segments')
    torch.testing.assert_close(both[:, :18], h)

    def cosines(rows):
        rows = F.normalize(rows, dim=1)
        return rows @ rows.T

    path = x[:, 0].view(4, 8, 4, 25, 3).mean(dim=2).flatten(1)
    torch.testing.assert_close(cosines(both), (cosines(h) + cosines(path)) / 2)


def test_an_empty_clip_has_a_finite_representation_with_its_input():
    network = AimCLRSTGCN(base_channels=2, out_channels=6).eval()
    assert represent(network, torch.zeros(1, 2, 16, 25, 3), 'segments_input').isfinite().all()


BODIES = {name: layout for name, layout in LAYOUTS.items() if not name.startswith('hands')}


@pytest.mark.parametrize('layout', BODIES.values(), ids=BODIES)
def test_parts_of_every_layout_are_disjoint_complete_and_mirrored(layout):
    parts = body_parts(layout)
    assert tuple(parts) == PARTS
    assert sorted(joint for part in parts.values() for joint in part) == [*range(layout.num_joints)]
    for limb in ('arm', 'leg'):
        assert {layout.mirror[j] for j in parts[f'left_{limb}']} == {*parts[f'right_{limb}']}
    names = {part: {layout.joints[j] for j in joints} for part, joints in parts.items()}
    assert {'left_shoulder', 'left_elbow'} <= names['left_arm']
    assert {'right_hip', 'right_knee'} <= names['right_leg']


def test_parts_of_coco_by_name():
    names = {
        part: [COCO17.joints[j] for j in joints] for part, joints in body_parts(COCO17).items()
    }
    assert names['torso'] == ['nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear']
    assert names['left_leg'] == ['left_hip', 'left_knee', 'left_ankle']


def test_a_joint_without_a_known_word_is_of_the_part_of_its_parent():
    names = ('root', 'left_shoulder', 'right_shoulder', 'left_marker', 'right_marker')
    names += ('left_hip', 'right_hip', 'left_dot', 'right_dot')
    parents = ('root', 'root', 'root', 'left_shoulder', 'right_shoulder')
    parents += ('root', 'root', 'left_hip', 'right_hip')
    parts = body_parts(Layout('own', names, parents, 'root'))
    assert parts['left_arm'] == (1, 3) and parts['right_leg'] == (6, 8)


def test_layouts_without_arms_and_legs_are_refused_by_name():
    hand = Layout(
        'hand',
        ('palm', 'left_tip', 'right_tip'),
        ('palm',) * 3,
        'palm',
        shoulders=('left_tip', 'right_tip'),
    )
    x = feature_map(layout=hand)
    assert read_out(x, 'segments', hand).shape == (3, 12)
    with pytest.raises(ValueError, match="layout 'hand' cannot be divided .* left_arm"):
        read_out(x, 'parts', hand)
    with pytest.raises(ValueError, match="readout='cells' needs the joint layout"):
        read_out(x, 'cells')
    with pytest.raises(ValueError, match="readout='max'; choose from 'mean'"):
        read_out(x, 'max')
