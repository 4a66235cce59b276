"""Performances of movement programs: inverse kinematics and bodies."""

import math

import pytest
import torch

from aimclr_mm.datasets.movements.performance import perform, turn, two_bone_chain
from aimclr_mm.datasets.movements.program import TRANSITIONS, random_programs
from aimclr_mm.skeletons import NTU25
from aimclr_mm.transforms import functional as F

DOWN = torch.tensor([0.0, -1.0, 0.0])


def chain(target, pole=DOWN, upper=0.3, lower=0.3):
    """Solve a chain from the origin to one target."""
    vectors = (torch.as_tensor(v, dtype=torch.float32).view(1, 1, 3) for v in ((0, 0, 0), target))
    lengths = (torch.tensor([length]) for length in (upper, lower))
    middle, end = two_bone_chain(*vectors, pole.view(1, 1, 3), *lengths)
    return middle[0, 0], end[0, 0]


def test_chain_that_is_bent_at_a_right_angle():
    middle, end = chain((0, 0, 0.3 * math.sqrt(2)))
    half = 0.3 / math.sqrt(2)
    torch.testing.assert_close(middle, torch.tensor([0.0, -half, half]))
    torch.testing.assert_close(end, torch.tensor([0.0, 0.0, 0.3 * math.sqrt(2)]))


def test_targets_out_of_reach_are_approached():
    _, end = chain((0, 0, 9))
    torch.testing.assert_close(end, torch.tensor([0.0, 0.0, 0.995 * 0.6]))
    _, end = chain((0, 0, 0.01), upper=0.4, lower=0.3)  # too near: the chain cannot fold so far
    torch.testing.assert_close(end, torch.tensor([0.0, 0.0, 0.1 * 1.05 + 0.02]))


def test_chains_keep_their_lengths_and_bend_to_the_pole():
    torch.manual_seed(0)
    root, target, pole = torch.randn(3, 50, 4, 3)
    upper, lower = 0.2 + 0.3 * torch.rand(2, 50)
    middle, end = two_bone_chain(root, target, pole, upper, lower)
    torch.testing.assert_close((middle - root).norm(dim=-1), upper[:, None].expand(50, 4))
    torch.testing.assert_close((end - middle).norm(dim=-1), lower[:, None].expand(50, 4))

    axis = torch.nn.functional.normalize(target - root, dim=-1)
    torch.testing.assert_close(torch.nn.functional.normalize(end - root, dim=-1), axis)
    bend = middle - root - ((middle - root) * axis).sum(dim=-1, keepdim=True) * axis
    assert (bend * pole).sum(dim=-1).min() > -1e-5


@pytest.mark.parametrize('axis, start, end', [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_turns_are_right_handed(axis, start, end):
    unit = torch.eye(3)
    torch.testing.assert_close(
        turn(axis, torch.tensor(90.0)) @ unit[start], unit[end], atol=1e-6, rtol=0
    )


@pytest.fixture(scope='module')
def performances():
    torch.manual_seed(0)
    return perform(random_programs(64).repeat(2), 20)


RIGID = (
    ('left_shoulder', 'left_elbow'),
    ('right_elbow', 'right_wrist'),
    ('left_hip', 'left_knee'),
    ('right_knee', 'right_ankle'),
    ('spine_base', 'spine_mid'),
    ('spine_shoulder', 'neck'),
    ('neck', 'head'),
    ('left_wrist', 'left_hand'),
    ('left_hip', 'right_hip'),
    ('left_shoulder', 'right_shoulder'),
)


@pytest.mark.parametrize('joints', RIGID, ids='-'.join)
def test_bones_are_rigid_within_a_performance_and_differ_between_people(performances, joints):
    first, second = (performances[:, :, NTU25.index(joint)] for joint in joints)
    length = (first - second).norm(dim=-1)  # (N, T)
    assert length.std(dim=1).max() < 1e-4
    assert 0.03 < length.mean(dim=1).std() / length.mean() < 0.15


def test_people_stand_on_the_floor(performances):
    x = performances
    height = x[:, :, NTU25.index('head'), 1]
    ankles = torch.stack([x[:, :, NTU25.index(f'{s}_ankle'), 1] for s in ('left', 'right')])
    assert x.isfinite().all()
    assert ankles.min() > 0
    assert 1.3 < height.amax(dim=1).median() < 1.9
    left, right = (x[:, :, NTU25.index(f'{side}_shoulder'), 0] for side in ('left', 'right'))
    assert (left - right).mean(dim=1).median() > 0.25  # x points to the left


def test_programs_are_repeated_row_by_row():
    torch.manual_seed(0)
    program = random_programs(3)
    assert len(program) == 3
    twice = program.repeat(2)
    assert len(twice) == 6
    assert torch.equal(twice.hands.target[::2], program.hands.target)
    assert torch.equal(twice.hands.target[1::2], program.hands.target)
    assert program.hands.target.shape == (3, 2, TRANSITIONS + 1, 3)


def test_two_performances_of_a_program_are_alike_but_not_the_same(performances):
    """A nearest neighbor on coordinates finds the partner far more often than by chance."""
    x = F.align_shoulders(
        F.center(performances[:, None], NTU25.center_index, 3), *NTU25.shoulder_indices
    )
    x = torch.nn.functional.normalize(x.flatten(1), dim=1)
    found = (x[::2] @ x[1::2].T).argmax(dim=1)
    accuracy = (found == torch.arange(64)).float().mean()
    assert 0.3 < accuracy < 0.95  # chance is 0.016
