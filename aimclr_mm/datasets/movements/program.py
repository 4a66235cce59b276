"""Random movement programs: which part of the body moves where and when, for any person.

A program is to a performance what a class is to a recording. Two performances of one program by
different people (:mod:`~aimclr_mm.datasets.movements.performance`) are a query and its key.

A movement passes through up to seven key poses. Hands and feet have targets, which inverse
kinematics reaches; trunk and head have angles. Added to these are cycles (repeated movements),
oscillations of the hands (waving, stirring, circles) and steps.

Everything is drawn for N programs at once, on torch's current default device. In the frame of a
person x points to their left, y up, z ahead. Angles are in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from .sampling import chance, choose, direction, uniform

TRANSITIONS = 7  # K, length of the axis of transitions between key poses

# Frequent targets of the hands, relative to the left shoulder, in arm lengths:
# head, chest, belly, other shoulder, hip, above the head, ahead, out, down, mouth, table, ...
PLACES = (
    (-0.3, 0.45, 0.25),
    (-0.35, -0.15, 0.35),
    (-0.3, -0.5, 0.35),
    (-0.6, 0.0, 0.3),
    (0.05, -0.75, 0.1),
    (-0.1, 0.95, 0.1),
    (-0.1, 0.0, 0.95),
    (0.95, 0.0, 0.1),
    (0.1, -0.97, 0.1),
    (-0.25, 0.3, 0.6),
    (-0.2, -0.4, 0.7),
    (0.5, 0.5, 0.4),
    (-0.5, 0.1, 0.7),
    (0.1, -0.9, 0.4),
    (0.4, 0.3, 0.2),
)
Part = TypeVar('Part')

NOTHING, STEPS, KICK, SQUAT, JUMP = range(5)  # what the legs do


@dataclass
class Timing:
    """Times of the transitions between key poses, as fractions of the clip or of one cycle.

    Attributes:
        start, length: (N, K) start and duration of each transition.
        used: (N, K) whether there is such a transition.
        cycles: (N,) number of repetitions of the movement.
        periodic: (N,) whether it is repeated at all.
        from_rest: (N,) whether the movement begins and ends in the resting posture.
    """

    start: Tensor
    length: Tensor
    used: Tensor
    cycles: Tensor
    periodic: Tensor
    from_rest: Tensor


@dataclass
class Hands:
    """Motion of the hands (left, right); both in the frame of the left shoulder, in arm lengths.

    Attributes:
        target: (N, 2, K + 1, 3) key poses.
        active: (N, 2) whether the hand takes part.
        alternate: (N,) whether the right hand is half a cycle late.
        amplitude, frequency: (N, 2) and (N,) of the oscillation; cycles per clip.
        axes: (N, 2, 2, 3) directions of its sine and its cosine.
        roundness: (N,) size of the cosine, 0 for a straight line.
        window: (N, 2) time at which the oscillation starts and ends.
        swivel: (N, 2) angle of the elbow about the line from shoulder to hand.
        bend: (N, 2, 3) direction in which the hand is bent from the forearm.
    """

    target: Tensor
    active: Tensor
    alternate: Tensor
    amplitude: Tensor
    frequency: Tensor
    axes: Tensor
    roundness: Tensor
    window: Tensor
    swivel: Tensor
    bend: Tensor


@dataclass
class Trunk:
    """Key poses of trunk and head.

    Attributes:
        trunk: (N, K + 1, 3) bend ahead, lean and twist to the left.
        head: (N, K + 1, 2) nod and turn to the left.
    """

    trunk: Tensor
    head: Tensor


@dataclass
class Legs:
    """Motion of the legs; lengths are in leg lengths unless stated otherwise.

    Attributes:
        kind: (N,) one of NOTHING, STEPS, KICK, SQUAT, JUMP.
        drop: (N, K + 1) how far the pelvis moves down.
        shift: (N, K + 1) how far it moves ahead, meters.
        kick: (N, K + 1, 3) offset of the kicking foot, meters.
        kick_left: (N,) whether the left foot kicks.
        step_frequency: (N,) steps of a foot per clip.
        step_height, step_length: (N,) meters.
        stance, stagger: (N,) feet apart to the sides, and one ahead of the other, meters.
        arm_swing: (N,) how far resting hands swing with the steps, arm lengths.
        seated: (N,) whether the person sits all the time.
    """

    kind: Tensor
    drop: Tensor
    shift: Tensor
    kick: Tensor
    kick_left: Tensor
    step_frequency: Tensor
    step_height: Tensor
    step_length: Tensor
    stance: Tensor
    stagger: Tensor
    arm_swing: Tensor
    seated: Tensor


@dataclass
class Program:
    """N movements."""

    timing: Timing
    hands: Hands
    trunk: Trunk
    legs: Legs

    def __len__(self) -> int:
        return len(self.timing.cycles)

    def take(self, index: Tensor) -> Program:
        """Return the programs of an index."""
        parts = {}
        for name, part in vars(self).items():
            parts[name] = type(part)(**{k: v[index] for k, v in vars(part).items()})
        return Program(**parts)

    def repeat(self, times: int) -> Program:
        """Return the programs, each of them ``times`` in a row."""
        return self.take(torch.arange(len(self)).repeat_interleave(times))


def random_programs(n: int) -> Program:
    """Draw n movement programs."""
    timing = _timing(n)
    return Program(timing, _hands(n, timing.periodic), _trunk(n), _legs(n))


def random_families(n: int, size: int) -> Program:
    """Draw n programs and ``size - 1`` variants of each, see :func:`vary`.

    Returns:
        n * size programs: one of each family, then another of each, and so on.
    """
    first = random_programs(n)
    if size == 1:
        return first
    order = torch.arange(n).repeat(size)
    programs = vary(first.take(order), random_programs(n * size))
    return _choose(torch.arange(n * size) < n, first.take(order), programs)


def vary(program: Program, other: Program) -> Program:
    """Return each program with one part of another: movements that are easily confused.

    The part is drawn: the targets of the hands, the first of them, their oscillation, or the
    timing. A program that moves no hand is replaced by the other one, and so is one where the part
    would not show.
    """
    n = len(program)
    hands, others = program.hands, other.hands
    part = torch.randint(4, (n,))
    targets, first, wave, timing = (part == kind for kind in range(4))
    waving = (hands.amplitude.maximum(others.amplitude) * hands.active).sum(dim=1) > 0
    shows = hands.active.any(dim=1) & (waving | ~wave)

    pose = torch.arange(TRANSITIONS + 1).view(-1, 1)
    new_target = targets.view(n, 1, 1, 1) | (first.view(n, 1, 1, 1) & (pose == 1))
    waves = {
        name: _where(wave, getattr(others, name), getattr(hands, name))
        for name in ('amplitude', 'frequency', 'axes', 'roundness', 'window')
    }
    varied = replace(
        program,
        timing=_choose(timing, other.timing, program.timing),
        hands=replace(
            hands,
            target=torch.where(new_target, others.target, hands.target),
            alternate=torch.where(timing, others.alternate, hands.alternate),
            **waves,
        ),
    )
    return _choose(shows, varied, other)


def _where(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return rows of a where the mask (N,) is true, else those of b."""
    return torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b)


def _choose(mask: Tensor, a: Part, b: Part) -> Part:
    """Return the parts or programs of a where the mask (N,) is true, else those of b."""
    if isinstance(a, Tensor):
        return _where(mask, a, b)
    chosen = {name: _choose(mask, value, getattr(b, name)) for name, value in vars(a).items()}
    return type(a)(**chosen)


def _timing(n: int) -> Timing:
    """Draw one to six transitions of random lengths with holds between them; repeat 45 %."""
    count = torch.randint(1, TRANSITIONS, (n, 1))
    used = torch.arange(TRANSITIONS) < count
    gap = torch.where(used, uniform(0.3, 1, n, TRANSITIONS), 0)
    gap = gap / gap.sum(dim=1, keepdim=True)

    periodic = chance(0.45, n)
    return Timing(
        start=gap.cumsum(dim=1) - gap,
        length=gap * uniform(0.5, 1, n, TRANSITIONS),
        used=used,
        cycles=torch.where(periodic, uniform(1.2, 4.5, n), 1),
        periodic=periodic,
        from_rest=chance(0.75, n),
    )


def _reachable(*shape: int) -> Tensor:
    """Draw targets (..., 3) of the left hand: half of them anywhere, half at salient places."""
    ahead_and_out = direction(*shape)
    x, y, z = ahead_and_out.unbind(-1)
    z = torch.where(chance(0.8, *shape), z.abs(), z)
    x = torch.where(chance(0.6, *shape), x.abs(), x)
    anywhere = torch.stack([x, y, z], dim=-1) * uniform(0.35, 1, *shape, 1)

    places = torch.tensor(PLACES)
    salient = places[torch.randint(len(places), shape)] + 0.08 * torch.randn(*shape, 3)
    return torch.where(chance(0.5, *shape, 1), salient, anywhere)


def _hands(n: int, periodic: Tensor) -> Hands:
    """Draw the motion of the hands: left only, right only, mirrored, parallel or independent."""
    poses = TRANSITIONS + 1
    target = _reachable(n, 2, poses)
    small = target[:, :, :1] + 0.25 * torch.randn(n, 2, poses, 3)
    target = torch.where(chance(0.3, n, 2, 1, 1), small, target)

    left, right, mirrored, parallel, _ = range(5)
    mode = choose((0.22, 0.22, 0.26, 0.1, 0.2), n)
    mode4 = mode.view(n, 1, 1, 1)
    first, second = target[:, :1], target[:, 1:]
    second = torch.where(mode4 == mirrored, first, second)
    second = torch.where(mode4 == parallel, first * torch.tensor([-1.0, 1, 1]), second)

    axes = direction(n, 2, 2)  # (N, hand, sine and cosine, 3)
    axes = torch.where(mode4 == mirrored, axes[:, :1], axes)
    moving = torch.stack([mode != right, mode != left], dim=1)
    return Hands(
        target=torch.cat([first, second], dim=1),
        active=moving & chance(0.87, n, 1),
        alternate=chance(0.25, n) & periodic,
        amplitude=uniform(0.08, 0.4, n, 2) * chance(0.35, n, 2),
        frequency=uniform(2, 7, n),
        axes=axes,
        roundness=chance(0.5, n) * uniform(0.4, 1, n),
        window=torch.stack([uniform(0, 0.5, n), uniform(0.5, 1, n)], dim=1),
        swivel=uniform(-50, 60, n, 2),
        bend=0.5 * torch.randn(n, 2, 3),
    )


def _trunk(n: int) -> Trunk:
    """Draw a moving trunk for 35 % of the programs and a moving head for 25 %."""
    poses = TRANSITIONS + 1
    angles = [uniform(-20, 75, n, poses), uniform(-30, 30, n, poses), uniform(-55, 55, n, poses)]
    moving = chance(0.55, n, 1, 3) & chance(0.35, n, 1, 1)
    head = torch.stack([uniform(-30, 35, n, poses), uniform(-50, 50, n, poses)], dim=-1)
    return Trunk(torch.stack(angles, dim=-1) * moving, head * chance(0.25, n, 1, 1))


def _legs(n: int) -> Legs:
    """Draw the motion of the legs; in 55 % of the programs they are still."""
    poses = TRANSITIONS + 1
    kind = choose((0.55, 0.17, 0.12, 0.13, 0.03), n)
    still = kind == NOTHING
    squat = (kind == SQUAT) | (still & chance(0.05, n))

    sideways = uniform(-0.5, 0.6, n, poses) * chance(0.5, n, 1)
    kick = [sideways, uniform(0, 0.85, n, poses), uniform(-0.4, 0.9, n, poses)]
    return Legs(
        kind=kind,
        drop=uniform(0, 0.5, n, poses) * squat[:, None],
        shift=uniform(-0.35, 0.1, n, poses) * (kind == SQUAT)[:, None],
        kick=torch.stack(kick, dim=-1) * (kind == KICK).view(n, 1, 1),
        kick_left=chance(0.5, n),
        step_frequency=uniform(1.5, 5.5, n),
        step_height=uniform(0.08, 0.5, n),
        step_length=uniform(-0.1, 0.35, n) * chance(0.7, n),
        stance=uniform(0, 0.35, n) * chance(0.3, n),
        stagger=uniform(-0.4, 0.4, n) * chance(0.25, n),
        arm_swing=uniform(0.1, 0.5, n) * ((kind == STEPS) & chance(0.6, n)),
        seated=still & chance(0.08, n),
    )
