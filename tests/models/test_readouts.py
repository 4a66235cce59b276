"""Readouts of feature maps, against naive loops and values computed by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aimclr_mm.models.backbones import AimCLRSTGCN, FastSTGCN
from aimclr_mm.models.encoder import pool
from aimclr_mm.models.readouts import (
    MAP_READOUTS,
    READOUTS,
    equal_motion,
    motion_clock,
    read_out,
    represent,
    segment_weights,
)
from aimclr_mm.skeletons import COCO17, LAYOUTS, NTU25, Layout
from aimclr_mm.skeletons.parts import PARTS, body_parts
from aimclr_mm.transforms.functional import select_stream

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
    borders = torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(segment_weights(borders, 3), expected)


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
        width = 18 + 8 * 25 * 3 + 1 if readout == 'equal_motion' else 6 * WIDTHS[readout]
        assert expected.shape == (2, width)
        torch.testing.assert_close(represent(fast, x, readout), expected, rtol=1e-3, atol=1e-4)


def clip(people=1, frames=32, dims=3, seed=0):
    """Return a smooth random walk (1, M, T, V, dims)."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(1, people, frames, 25, dims, generator=generator)
    return (0.1 * steps).cumsum(dim=2) + 1


def clock_by_hand(x):
    """Return the times (T + 1) of the borders between frames of one clip (M, T, V, dims)."""
    count = x.shape[1]
    steps = []
    for before in range(count - 1):
        jumps = np.linalg.norm(x[:, before + 1] - x[:, before], axis=-1)
        steps.append(jumps.mean())
    steps = [min(step, 3 * np.mean(steps)) for step in steps]
    motion = np.zeros(count)
    for before, step in enumerate(steps):
        motion[before] += step / 2
        motion[before + 1] += step / 2
    around = count // 8
    motion = [motion[max(i - around, 0) : i + around + 1].mean() for i in range(count)]
    rate = 0.75 * np.array(motion) / np.sum(motion) + 0.25 / count
    return np.concatenate([[0], np.cumsum(rate)])


def averages_by_hand(values, clock, segments):
    """Return the averages (S, ...) of frames (T, ...) over equal parts of a clock (T + 1)."""
    fine = np.linspace(0, 1, 24001)
    middle = (fine[1:] + fine[:-1]) / 2
    frame = np.searchsorted(clock, middle, side='right') - 1
    return np.array([values[part].mean(axis=0) for part in np.split(frame, segments)])


def test_equal_motion_equals_a_naive_loop():
    x = clip(people=2).double()
    feature_map = torch.randn(1, 2, 4, 8, 25, generator=torch.Generator().manual_seed(1)).double()
    found = equal_motion(feature_map, x)[0].numpy()

    clock = clock_by_hand(x[0].numpy())
    frames = feature_map[0].mean(dim=(0, 3)).T.numpy()  # (T', C)
    h = averages_by_hand(frames, clock[::4], 3).ravel()
    poses = averages_by_hand(x[0].mean(dim=0).numpy(), clock, 8)
    path = (poses - poses.mean(axis=0) + 0.4 * poses.mean(axis=0)).ravel()
    np.testing.assert_allclose(found[:12], h / np.linalg.norm(h), atol=1e-3)
    np.testing.assert_allclose(found[12:-1], path / np.linalg.norm(path), atol=1e-3)
    assert found[-1] == pytest.approx(0.7)  # two people


@pytest.mark.parametrize('frames', [7, 32, 50])
def test_the_clock_is_that_of_the_definition(frames):
    x = clip(people=2, frames=frames).double()
    x[0, 0, 4] += 9  # a fault of the sensor
    found = motion_clock(x)[0].numpy()
    np.testing.assert_allclose(found, clock_by_hand(x[0].numpy()), atol=1e-12)
    assert found[0] == 0 and found[-1] == pytest.approx(1) and (np.diff(found) > 0).all()


def test_swings_do_not_drive_the_clock():
    """A steady oscillation is even motion; a phase of larger swings gets more of the clock."""
    t = torch.arange(32.0)
    x = torch.zeros(1, 1, 32, 25, 3)
    x[..., 0] = (t * math.pi / 4 + 0.3).sin()[:, None]
    assert (motion_clock(x)[0] - torch.linspace(0, 1, 33)).abs().max() < 0.04
    x[:, :, :16] *= 4
    assert motion_clock(x)[0, 16] > 0.65


def test_joints_and_their_motion_have_the_same_clock():
    x = clip()
    motion = select_stream(x, 'motion', NTU25)
    torch.testing.assert_close(motion_clock(motion, 'motion'), motion_clock(x))


@pytest.mark.parametrize('frames', [1, 2, 12])
def test_without_motion_segments_have_equal_time(frames):
    x = torch.ones(2, 1, frames, 25, 3)
    expected = torch.linspace(0, 1, frames + 1).expand(2, -1)
    torch.testing.assert_close(motion_clock(x), expected)
    torch.testing.assert_close(motion_clock(0 * x, 'motion'), expected)
    feature_map = torch.randn(2, 1, 4, 12, 25)
    found = equal_motion(feature_map, x)[:, :12].view(2, 3, 4).transpose(1, 2).flatten(1)
    thirds = feature_map[:, 0].mean(dim=3).view(2, 4, 3, 4).mean(dim=3).flatten(1)
    torch.testing.assert_close(found, F.normalize(thirds, dim=1))


def test_performances_at_other_paces_have_similar_paths():
    """A slow beginning and a fast end, or a rest in the middle, change little."""
    t = torch.linspace(0, 1, 32)
    directions = torch.randn(2, 25, 3, generator=torch.Generator().manual_seed(0))

    def perform(pace):
        phase = 3 * pace[:, None, None]
        return (directions[0] * phase.sin() + directions[1] * phase.cos() * 2)[None, None]

    reference = perform(t)
    slow_start = perform(t**2)
    rest = perform(
        torch.cat([torch.linspace(0, 0.5, 8), torch.full((16,), 0.5), torch.linspace(0.5, 1, 8)])
    )
    feature_map = torch.zeros(1, 1, 1, 8, 25)
    feature_map[..., 0] = 1

    def path(x):
        return F.normalize(equal_motion(feature_map, x)[:, 3:])

    def even(x):
        return F.normalize(x.view(1, 8, 4, 25, 3).mean(dim=2).flatten(1))

    for other in (slow_start, rest):
        distance = (path(other) - path(reference)).norm()
        assert distance < 0.5 * (even(other) - even(reference)).norm()


def test_an_absent_person_does_not_count():
    torch.manual_seed(0)
    network = AimCLRSTGCN(base_channels=2, out_channels=6).eval()
    x = clip(people=2)
    x[:, 1] = 0
    with torch.no_grad():
        alone = represent(network, x[:, :1], 'equal_motion')
        torch.testing.assert_close(represent(network, x, 'equal_motion'), alone)
        torch.testing.assert_close(represent(network, x.flip(1), 'equal_motion'), alone)
        assert alone[0, -1] == 0 and represent(network, clip(people=2), 'equal_motion')[0, -1] > 0
        empty = represent(network, 0 * x, 'equal_motion')
        assert empty.isfinite().all() and empty[0, -1] == 0


def test_the_mean_displacement_counts_fully():
    """Only poses have a mean that tells people apart."""
    motion = select_stream(clip(frames=33), 'motion', NTU25)[:, :, :32]
    feature_map = torch.randn(1, 1, 2, 8, 25)
    full = equal_motion(feature_map, motion, 'motion')[0, 6:-1].view(8, -1)
    weighted = equal_motion(feature_map, motion, 'joint')[0, 6:-1].view(8, -1)

    def share(path):
        return (path.mean(dim=0).norm() / path.norm()).item()

    assert share(weighted) < 0.6 * share(full)


def test_scores_are_not_part_of_the_path():
    x = torch.randn(2, 1, 16, 17, 3)
    network = AimCLRSTGCN(layout='coco17', base_channels=2, out_channels=6).eval()
    assert represent(network, x, 'equal_motion').shape == (2, 18 + 8 * 17 * 2 + 1)


def test_similarity_with_the_input_is_the_mean_of_both():
    x = torch.cat([clip(seed=seed) for seed in range(4)])
    both = equal_motion(torch.randn(4, 1, 6, 8, 25), x)

    def cosines(rows):
        rows = F.normalize(rows, dim=1)
        return rows @ rows.T

    halves = cosines(both[:, :18]) + cosines(both[:, 18:-1])
    torch.testing.assert_close(cosines(both), halves / 2)


def test_equal_motion_of_half_precision_sums_in_float32():
    x, feature_map = clip(), torch.randn(1, 1, 6, 8, 25).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = equal_motion(feature_map, x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, equal_motion(feature_map.float(), x).bfloat16())


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
