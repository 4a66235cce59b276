"""Performances of movement programs, each with its own body, tempo, posture and habits.

The frame of a person has x to their left, y up, z ahead, and its origin on the floor; lengths are
in meters, angles in degrees. All functions work on N performances at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aimclr_mm.skeletons import NTU25

from .program import JUMP, STEPS, TRANSITIONS, Program
from .sampling import chance, choose, uniform, wander

SIDES = (('left', 1.0), ('right', -1.0))  # and the sign of x
FOOT_HEIGHT = 0.07  # of the ankle above the floor

# Places of idle hands: hanging, at the hip, on the belly, on the chest, in front, on the back;
# relative to the left shoulder, in arm lengths.
IDLE_PLACES = (
    (0.12, -0.95, 0.08),
    (0.25, -0.6, 0.1),
    (-0.25, -0.55, 0.4),
    (-0.35, -0.2, 0.4),
    (-0.1, -0.75, 0.35),
    (0.0, -0.8, -0.25),
)
IDLE_WEIGHTS = (0.6, 0.08, 0.1, 0.1, 0.06, 0.06)


@dataclass
class Body:
    """Lengths (N,) of the bones of N people."""

    thigh: Tensor
    shin: Tensor
    upper_arm: Tensor
    forearm: Tensor
    hand: Tensor
    finger: Tensor
    lower_spine: Tensor
    upper_spine: Tensor
    neck: Tensor
    head: Tensor
    half_shoulders: Tensor
    half_hips: Tensor
    size: Tensor


def random_bodies(n: int) -> Body:
    """Draw n bodies: an overall size, and the length of each bone within 8 % of its share."""
    size = uniform(0.85, 1.12, n)

    def length(mean: float) -> Tensor:
        return mean * size * uniform(0.92, 1.08, n)

    return Body(
        thigh=length(0.41),
        shin=length(0.40),
        upper_arm=length(0.28),
        forearm=length(0.25),
        hand=length(0.08),
        finger=length(0.07),
        lower_spine=length(0.27),
        upper_spine=length(0.25),
        neck=length(0.07),
        head=length(0.14),
        half_shoulders=length(0.17),
        half_hips=length(0.085),
        size=size,
    )


@dataclass
class Pace:
    """The clock of a performance.

    Attributes:
        time: (N, T) 0 at the beginning of the movement, 1 at its end; outside of it in idle frames.
        weight: (N, T, K) progress of each transition, from 0 to 1.
        late_weight: (N, T, K) the same for a hand that is half a cycle late.
    """

    time: Tensor
    weight: Tensor
    late_weight: Tensor


def _pace(program: Program, frames: int) -> Pace:
    """Draw the time of each frame: idle frames at both ends, an uneven tempo, a random phase."""
    timing, n = program.timing, len(program)
    idle_before, idle_after = uniform(0, 0.12, 2, n, 1) * chance(0.7, 2, n, 1)
    waves = torch.randint(1, 4, (n, 1))
    time = torch.linspace(0, 1, frames).expand(n, frames)
    swing = torch.sin(2 * math.pi * (waves * time + torch.rand(n, 1)))
    time = time + 0.12 * torch.rand(n, 1) / waves * swing
    time = (time - idle_before) / (1 - idle_before - idle_after)

    cycles = timing.cycles[:, None] * uniform(0.8, 1.25, n, 1)
    repeated = (time.clamp(0, 1) * cycles + uniform(0, 0.5, n, 1)) % 1
    cycle = torch.where(timing.periodic[:, None], repeated, time)
    late = torch.where(program.hands.alternate[:, None], (cycle + 0.5) % 1, cycle)

    start = timing.start + 0.03 * torch.randn(n, TRANSITIONS)
    length = timing.length * uniform(0.8, 1.25, n, TRANSITIONS)
    weights = [_progress(at, start, length) * timing.used[:, None] for at in (cycle, late)]
    return Pace(time, *weights)


def _progress(time: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Return the progress (N, T, K) of transitions (N, K) at times (N, T), smooth at both ends."""
    u = (time[:, :, None] - start[:, None]) / length[:, None].clamp(min=1e-3)
    u = u.clamp(0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)


def _follow(poses: Tensor, weight: Tensor) -> Tensor:
    """Return the track (N, T, ..., C) through key poses (N, ..., K + 1, C)."""
    steps = poses.diff(dim=-2)
    return poses[..., 0, :].unsqueeze(1) + torch.einsum('ntk,n...kc->nt...c', weight, steps)


def _closed(poses: Tensor, rest: Tensor, program: Program) -> Tensor:
    """Set the first and the last of key poses (N, ..., K + 1, C).

    Movements from rest begin at ``rest`` (N, ..., C). These and repeated movements end in the pose
    in which they began.
    """
    timing, n = program.timing, len(program)
    ones = [1] * (poses.dim() - 3)
    from_rest = timing.from_rest.view(n, *ones, 1)
    first = torch.where(from_rest, rest, poses[..., 0, :]).unsqueeze(-2)

    count = timing.used.sum(dim=1)
    returns = (timing.from_rest | timing.periodic) & (count > 1)
    last = (torch.arange(TRANSITIONS + 1) == count[:, None]) & returns[:, None]
    last = last.view(n, *ones, TRANSITIONS + 1, 1)
    return torch.where(last, first, torch.cat([first, poses[..., 1:, :]], dim=-2))


def turn(axis: int, degrees: Tensor) -> Tensor:
    """Return right-handed rotations (..., 3, 3) about the axis 0, 1 or 2."""
    angle = torch.deg2rad(degrees)
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    rows = (
        (one, zero, zero, zero, cos, -sin, zero, sin, cos),
        (cos, zero, sin, zero, one, zero, -sin, zero, cos),
        (cos, -sin, zero, sin, cos, zero, zero, zero, one),
    )[axis]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def _apply(rotation: Tensor, vector: Tensor) -> Tensor:
    """Rotate vectors (..., 3) by (..., 3, 3)."""
    return (rotation @ vector.unsqueeze(-1)).squeeze(-1)


def _vector(x: Tensor | float, y: Tensor | float, z: Tensor | float, n: int) -> Tensor:
    """Return vectors (N, 1, 3) from components (N,) or numbers."""
    parts = [torch.as_tensor(part, dtype=torch.float32).expand(n) for part in (x, y, z)]
    return torch.stack(parts, dim=-1)[:, None]


def two_bone_chain(
    root: Tensor, target: Tensor, pole: Tensor, upper: Tensor, lower: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve the inverse kinematics of an arm or a leg.

    Args:
        root, target: (N, T, 3) shoulder or hip, and the target of wrist or ankle.
        pole: (N, T, 3) direction in which elbow or knee points.
        upper, lower: (N,) lengths of the two bones.

    Returns:
        Middle and end joint, (N, T, 3) each. The end joint is on the line to the target, and at it
        if the chain can reach it.
    """
    upper, lower = upper[:, None, None], lower[:, None, None]
    line = target - root
    distance = line.norm(dim=-1, keepdim=True)
    axis = line / distance.clamp(min=1e-4)

    # neither fully folded nor quite straight
    reach = distance.maximum((upper - lower).abs() * 1.05 + 0.02).minimum(0.995 * (upper + lower))
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    aside = (upper**2 - along**2).clamp(min=0).sqrt()
    normal = F.normalize(pole - (pole * axis).sum(dim=-1, keepdim=True) * axis, dim=-1)
    return root + axis * along + normal * aside, root + axis * reach


def perform(program: Program, frames: int) -> Tensor:
    """Perform each program with a new random person.

    Args:
        program: N programs.
        frames: T, the length of the clip.

    Returns:
        (N, T, 25, 3) joints in NTU's order, in the frame of the person.
    """
    n = len(program)
    body = random_bodies(n)
    pace = _pace(program, frames)
    vigor = uniform(0.8, 1.12, n)

    joints: dict[str, Tensor] = {}
    stride = _Stride(program, pace, n)
    hips, chest = _pose_trunk(joints, program, body, pace, stride, vigor)
    _pose_arms(joints, program, body, pace, stride, vigor, chest)
    _pose_legs(joints, program, body, pace, stride, vigor, hips)
    return torch.stack([joints[name] for name in NTU25.joints], dim=2)


class _Stride:
    """Rhythm of the steps and jumps of a performance, shared by trunk, arms and legs.

    Attributes:
        phase: (N, T) of the steps in radians.
        stepping: (N, 1) 1 for programs that step, else 0.
        jump: (N, T) height of a jump, meters.
    """

    def __init__(self, program: Program, pace: Pace, n: int) -> None:
        legs = program.legs
        rate = 2 * math.pi * legs.step_frequency[:, None] * uniform(0.85, 1.18, n, 1)
        self.phase = rate * pace.time.clamp(0, 1) + 2 * math.pi * torch.rand(n, 1)
        self.stepping = (legs.kind == STEPS).float()[:, None]
        between = pace.weight.sum(dim=-1) % 1
        self.jump = 0.25 * torch.sin(math.pi * between) * (legs.kind == JUMP)[:, None]


def _pose_trunk(
    joints: dict[str, Tensor],
    program: Program,
    body: Body,
    pace: Pace,
    stride: _Stride,
    vigor: Tensor,
) -> tuple[Tensor, Tensor]:
    """Add pelvis, spine and head; return the rotations (N, T, 3, 3) of hips and chest."""
    n, frames = pace.time.shape
    legs, poses = program.legs, TRANSITIONS + 1

    def along(key: Tensor) -> Tensor:
        return _follow(_closed(key, torch.zeros_like(key[..., 0, :]), program), pace.weight)

    drop = along(legs.drop[..., None] * uniform(0.8, 1.2, n, 1, 1)).squeeze(-1)
    drop = torch.where(legs.seated[:, None], uniform(0.45, 0.55, n, 1), drop)

    moving = program.trunk.trunk.abs().sum(dim=(1, 2)) > 0
    key = program.trunk.trunk * vigor[:, None, None]
    key = key + 5 * torch.randn(n, poses, 3) * moving[:, None, None]
    habit = torch.stack([uniform(-4, 12, n), uniform(-4, 4, n), uniform(-10, 10, n)], dim=-1)
    bend, lean, twist = (along(key) + habit[:, None] + wander(n, frames, 3, 2.5)).unbind(-1)
    # people bend ahead when they squat, but not when they sit
    bend = bend + torch.where(legs.seated[:, None], 0, drop) * uniform(14, 70, n, 1)
    hips = turn(1, 0.3 * twist) @ turn(2, -0.3 * lean) @ turn(0, 0.35 * bend)
    chest = turn(1, twist) @ turn(2, -lean) @ turn(0, bend)

    leg = body.thigh + body.shin
    standing = FOOT_HEIGHT + leg * uniform(0.97, 0.995, n)
    bob = 0.02 * torch.sin(2 * stride.phase) * stride.stepping
    height = standing[:, None] - drop * leg[:, None] + stride.jump + bob
    ahead = along(legs.shift[..., None]).squeeze(-1)
    pelvis = torch.stack([torch.zeros_like(height), height, ahead], dim=-1)
    pelvis = pelvis + wander(n, frames, 3, 0.012)

    nod = along(program.trunk.head) + wander(n, frames, 2, 4)
    nod = nod + torch.stack([uniform(-8, 15, n), uniform(-12, 12, n)], dim=-1)[:, None]
    skull = chest @ turn(1, nod[..., 1]) @ turn(0, nod[..., 0])

    joints['spine_base'] = pelvis
    joints['spine_mid'] = pelvis + _apply(hips, _vector(0, body.lower_spine, 0, n))
    joints['spine_shoulder'] = joints['spine_mid'] + _apply(
        chest, _vector(0, body.upper_spine, 0, n)
    )
    joints['neck'] = joints['spine_shoulder'] + _apply(chest, _vector(0, body.neck, 0.01, n))
    joints['head'] = joints['neck'] + _apply(skull, _vector(0, body.head, 0.03, n))
    return hips, chest


def _hand_targets(program: Program, pace: Pace, stride: _Stride, vigor: Tensor) -> Tensor:
    """Return the targets of the hands (N, T, 2, 3), both as of a left hand, in arm lengths."""
    hands, (n, frames) = program.hands, pace.time.shape

    rest = torch.tensor(IDLE_PLACES[0]) + 0.06 * torch.randn(n, 2, 3)
    reach = 1 + 0.5 * (vigor - 1)
    key = hands.target * reach.view(n, 1, 1, 1)
    key = _closed(key + 0.05 * torch.randn_like(key), rest, program)
    left, right = _follow(key[:, 0], pace.weight), _follow(key[:, 1], pace.late_weight)
    target = torch.stack([left, right], dim=2)

    rate = 2 * math.pi * hands.frequency[:, None] * uniform(0.8, 1.25, n, 1)
    angle = rate * pace.time + 2 * math.pi * torch.rand(n, 1)
    waves = torch.stack([angle.sin(), angle.cos() * hands.roundness[:, None]], dim=-1)
    begin, end = hands.window[:, :1], hands.window[:, 1:]
    inside = torch.sigmoid(30 * (pace.time - begin)) * torch.sigmoid(30 * (end - pace.time))
    amplitude = hands.amplitude * uniform(0.8, 1.25, n, 1)
    target = target + torch.einsum('ntw,nhwc,nh,nt->nthc', waves, hands.axes, amplitude, inside)

    places = torch.tensor(IDLE_PLACES)[choose(IDLE_WEIGHTS, 2 * n)].view(n, 1, 2, 3)
    idle = places + 0.05 * torch.randn(n, 1, 2, 3)
    swing = torch.stack([stride.phase.sin(), -stride.phase.sin()], dim=-1)
    swing = swing * program.legs.arm_swing[:, None, None]
    idle = idle + F.pad(swing[..., None], (2, 0))
    target = torch.where(hands.active[:, None, :, None], target, idle)
    return target + wander(n, frames, 6, 0.025).unflatten(-1, (2, 3))


def _pose_arms(
    joints: dict[str, Tensor],
    program: Program,
    body: Body,
    pace: Pace,
    stride: _Stride,
    vigor: Tensor,
    chest: Tensor,
) -> None:
    """Add shoulders, elbows, wrists and hands."""
    n = len(program)
    targets = _hand_targets(program, pace, stride, vigor)
    arm = (body.upper_arm + body.forearm)[:, None, None]
    sideways = _apply(chest, _vector(1, 0, 0, n))

    for index, (side, sign) in enumerate(SIDES):
        flip = torch.tensor([sign, 1.0, 1.0])
        offset = _vector(sign * body.half_shoulders, -0.03 * body.size, 0, n)
        shoulder = joints['spine_shoulder'] + _apply(chest, offset)
        target = shoulder + _apply(chest, targets[:, :, index] * flip * arm)

        swivel = program.hands.swivel[:, index] + 12 * torch.randn(n)
        elbow_down = _apply(turn(2, sign * swivel)[:, None], _vector(0.25 * sign, -1, -0.35, n))
        pole = _apply(chest, elbow_down)
        elbow, wrist = two_bone_chain(shoulder, target, pole, body.upper_arm, body.forearm)

        bend = 0.6 * program.hands.bend[:, index] * flip + 0.2 * torch.randn(n, 3)
        ahead = F.normalize(F.normalize(wrist - elbow, dim=-1) + bend[:, None], dim=-1)
        hand = wrist + ahead * body.hand[:, None, None]
        across = F.normalize(torch.cross(ahead, sideways + 0.3, dim=-1), dim=-1)

        joints[f'{side}_shoulder'], joints[f'{side}_elbow'] = shoulder, elbow
        joints[f'{side}_wrist'], joints[f'{side}_hand'] = wrist, hand
        joints[f'{side}_hand_tip'] = hand + ahead * body.finger[:, None, None]
        joints[f'{side}_thumb'] = hand + 0.02 * ahead + 0.045 * across


def _pose_legs(
    joints: dict[str, Tensor],
    program: Program,
    body: Body,
    pace: Pace,
    stride: _Stride,
    vigor: Tensor,
    hips: Tensor,
) -> None:
    """Add hips, knees, ankles and feet."""
    legs, n = program.legs, len(program)
    kick = _closed(legs.kick * vigor.view(n, 1, 1), torch.zeros(n, 3), program)
    kick = _follow(kick, pace.weight)  # (N, T, 3)

    for side, sign in SIDES:
        offset = _vector(sign * body.half_hips, -0.06 * body.size, 0, n)
        hip = joints['spine_base'] + _apply(hips, offset)

        aside = sign * (body.half_hips + legs.stance + uniform(-0.01, 0.08, n))
        ahead = sign * legs.stagger + uniform(-0.06, 0.06, n) + legs.seated * uniform(0.3, 0.45, n)
        foot = _vector(aside, FOOT_HEIGHT, ahead, n)
        phase = stride.phase if side == 'left' else stride.phase + math.pi
        lift = legs.step_height[:, None] * phase.sin().clamp(min=0) * uniform(0.8, 1.2, n, 1)
        travel = legs.step_length[:, None] * (phase + 1.2).sin()
        step = torch.stack([torch.zeros_like(lift), lift, travel], dim=-1)
        foot = foot + step * stride.stepping[..., None] + F.pad(stride.jump[..., None], (1, 1))
        kicking = (legs.kick_left == (side == 'left')).view(n, 1, 1)
        foot = foot + kick * torch.tensor([sign, 1.0, 1.0]) * kicking

        knee_out = sign * uniform(-5, 25, n)
        pole = _apply(turn(1, knee_out)[:, None], _vector(0, 0.1, 1, n)).expand_as(foot)
        knee, ankle = two_bone_chain(hip, foot, pole, body.thigh, body.shin)
        toes = turn(1, sign * uniform(0, 25, n))[:, None]

        joints[f'{side}_hip'], joints[f'{side}_knee'] = hip, knee
        joints[f'{side}_ankle'] = ankle
        pointing = _apply(toes, _vector(0, -0.04, 0.12, n))
        joints[f'{side}_foot'] = ankle + pointing * body.size[:, None, None]
