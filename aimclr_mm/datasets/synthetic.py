"""Synthetic human actions, so that all commands of the project run without a download.

A stick figure in the 25-joint layout of NTU is posed by forward kinematics. An action is a list of
moves: a joint, the part of the cycle in which it moves, and the rotation it is blended to. The
class is determined by which limbs move how and when; body, habits, idle posture, sway, tempo,
phase, side, facing, camera and sensor noise are nuisance factors.

The frame of a person has x to their left, y up, z ahead; the camera frame of Kinect has x to the
left of the camera, y up, z away from it. Both are right-handed, in meters. Angles are in degrees,
phases in cycles.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from aimclr_mm.skeletons import NTU25, Layout

FPS = 30
MIN_FRAMES = 30
MAX_FRAMES = 100
CAMERA_AZIMUTHS = (-45.0, 0.0, 45.0)  # degrees

# Offset of a joint from its neighbor towards the pelvis with hanging arms, meters; x points away
# from the midline.
_OFFSETS = {
    'spine_mid': (0, 0.26, 0),
    'spine_shoulder': (0, 0.25, 0),
    'neck': (0, 0.07, 0),
    'head': (0, 0.14, 0.02),
    'shoulder': (0.17, -0.04, 0),
    'elbow': (0, -0.27, 0),
    'wrist': (0, -0.25, 0),
    'hand': (0, -0.08, 0),
    'thumb': (-0.02, -0.03, 0.04),
    'hand_tip': (0.02, -0.05, -0.03),
    'hip': (0.09, -0.04, 0),
    'knee': (0, -0.4, 0),
    'ankle': (0, -0.39, 0),
    'foot': (0, -0.06, 0.12),
}

# Sway of an idle joint, degrees; all others are stiff.
_SWAY = dict(spine_base=2, spine_mid=5, neck=12, shoulder=13, elbow=16, wrist=12, hip=3, knee=3)

# Idle shoulder (ahead, out, twist) and elbow, degrees: the arm hangs (three times as likely), or
# the hand is on the hip, belly, ear or back.
_ARMS = (
    *3 * ((5, 8, 0, 15),),
    (-20, 45, -50, 95),
    (25, 8, -60, 90),
    (45, 35, -20, 130),
    (-30, 15, -30, 50),
)

# Phases of a move: start of the rise, full, start of the fall, end. In addition, 'beat' swings four
# times a cycle during 'hold', and 'step' and 'counter' are the two halves of a cycle.
_ENVELOPES = {
    'hold': (0.08, 0.25, 0.72, 0.92),
    'pulse': (0.15, 0.45, 0.55, 0.85),
    'early': (0.12, 0.32, 0.38, 0.52),
    'late': (0.38, 0.48, 0.54, 0.74),
    'after': (0.46, 0.56, 0.66, 0.92),
}


class Action(NamedTuple):
    """An action of a right-handed actor, optionally with a partner.

    Moves are ``joint envelope ahead [out [twist]]``, separated by semicolons: a joint is blended to
    a rotation that moves the limb beyond it ahead and out (on the midline: left) and twists it,
    degrees. ``both_`` stands for left and right; the pseudo-joint ``travel`` moves the body ahead,
    left and up, meters.
    """

    period: float  # seconds per cycle
    moves: str
    partner: str = ''
    distance: float = 0  # to the partner, meters


@cache
def _parse(moves: str) -> list[tuple[str, str, np.ndarray]]:
    """Parse moves to joint, envelope and target (3,)."""
    parsed = []
    for joint, envelope, *target in map(str.split, moves.split(';')):
        sides = ('left_', 'right_') if joint.startswith('both_') else ('',)
        rotation = np.array([*target, 0, 0][:3], float)
        parsed += [(side + joint.removeprefix('both_'), envelope, rotation) for side in sides]
    return parsed


_SHAKE = 'right_shoulder hold 50 5; right_elbow hold 40; right_elbow beat 75'
_HUG = 'travel hold .15; both_shoulder hold 75 15 -30; both_elbow hold 60; spine_mid hold 12'
_ACTIONS = {
    'wave': Action(2.6, 'right_shoulder hold 15 95 75; right_elbow hold 110; right_elbow beat 30'),
    'raise_arm': Action(2.4, 'right_shoulder hold 20 140 30; right_elbow hold 20'),
    'clap': Action(
        2.4, 'both_shoulder hold 55 10 -10; both_elbow hold 70; both_shoulder beat 55 10 -45'
    ),
    'throw': Action(
        2.0,
        """right_shoulder early -10 100 95; right_elbow early 105; spine_mid early -8 0 -20;
        right_shoulder late 95 10; right_elbow late 20; spine_mid late 15 0 20""",
    ),
    'kick': Action(
        1.8,
        """right_hip early -15; right_knee early -75; right_hip late 75; right_knee late -8;
        spine_mid late -10; both_shoulder late 0 30""",
    ),
    'squat': Action(
        2.4,
        """both_hip pulse 95 8; both_knee pulse -115; both_ankle pulse 45;
        spine_base pulse 28; both_shoulder pulse 60 10; both_elbow pulse 25""",
    ),
    'bow': Action(2.6, 'spine_base pulse 45; both_hip pulse 45; spine_mid pulse 15; neck pulse 15'),
    'pick_up': Action(
        2.6,
        """both_hip pulse 95; both_knee pulse -75; both_ankle pulse 28; spine_mid pulse 25;
        spine_base pulse 50; right_shoulder pulse 75; right_elbow pulse 10""",
    ),
    'jump': Action(
        1.8,
        """both_hip early 70; both_knee early -85; both_ankle early 32; spine_base early 25;
        both_shoulder early -30 10; both_shoulder late 80 25; travel late 0 0 .3""",
    ),
    'walk_in_place': Action(
        1.3,
        """right_hip step 40; right_knee step -60; right_shoulder counter 25;
        left_hip counter 40; left_knee counter -60; left_shoulder step 25""",
    ),
    'punch': Action(
        1.8,
        """right_shoulder early 0 25; right_elbow early 125; spine_mid early 0 0 -20;
        right_shoulder late 85 5; right_elbow late 10; spine_mid late 8 0 20""",
        'spine_mid after -22; neck after -20; travel after -.1; right_elbow after 60',
        0.9,
    ),
    'push': Action(
        2.0,
        """both_shoulder early 10 15; both_elbow early 110; both_shoulder late 80 8;
        both_elbow late 15; spine_mid late 12; travel late .1""",
        'spine_mid after -18; travel after -.3; left_hip after -25; left_knee after -20',
        0.85,
    ),
    'handshake': Action(2.4, _SHAKE, _SHAKE, 0.95),
    'hug': Action(2.6, _HUG, _HUG, 0.7),
}
ACTIONS: tuple[str, ...] = tuple(_ACTIONS)

# Lowest and highest value of the arguments; numbers in NTU's names have three digits.
_LIMITS = dict(
    action=(0, len(ACTIONS) - 1),
    seed=(0, 2**32 - 1),
    **dict.fromkeys(('camera', 'cameras'), (1, len(CAMERA_AZIMUTHS))),
    **dict.fromkeys(('subject', 'subjects', 'repetition', 'repetitions'), (1, 999)),
)


def _side(joint: str) -> tuple[str, int]:
    """Return a joint name without side, and the sign of x: 1 left, -1 right, 0 midline."""
    side, _, name = joint.partition('_')
    if side not in ('left', 'right'):
        return joint, 0
    return name, 1 if side == 'left' else -1


def _tree(layout: Layout, root: str) -> list[tuple[int, int]]:
    """Return the bones of a layout as (joint, parent), re-rooted at ``root``, parents first."""
    bones = list(enumerate(layout.bones))
    bones += [(parent, joint) for joint, parent in bones]

    tree = []
    reached = {layout.index(root)}
    while len(reached) < layout.num_joints:
        level = [(a, b) for a, b in bones if b in reached and a not in reached]
        tree += level
        reached.update(joint for joint, _ in level)
    return tree


_TREE = _tree(NTU25, 'spine_base')
_ROWS = {name: row for row, name in enumerate((*NTU25.joints, 'travel'))}

# (V + 1, 3) signs of (ahead, out, twist) as rotations about x, z and y; ahead is -x for hanging
# limbs
_SIGNS = np.array([(-1 if side else 1, side or 1, side or 1) for _, side in map(_side, _ROWS)])
_SWAYS = np.array(
    [np.multiply(_SWAY.get(_side(joint)[0], 0), (1, 0.6, 0.8)) for joint in _ROWS]
)  # (V + 1, 3)


def _rotation(axis: int, degrees: np.ndarray | float) -> np.ndarray:
    """Return right-handed rotations (..., 3, 3) about the axis 0, 1 or 2 by (...) degrees."""
    angle = np.radians(degrees)
    first, second = (axis + 1) % 3, (axis + 2) % 3

    matrix = np.zeros((*np.shape(angle), 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = np.sin(-angle)
    return matrix


class Body(NamedTuple):
    """Properties of a person that are the same in all recordings."""

    offsets: np.ndarray  # (V, 3) offset from the neighbor towards the pelvis, meters
    posture: np.ndarray  # (V + 1, 3) habitual rotation, degrees
    amplitude: float  # fraction of a move that is carried out
    tempo: float  # duration of a cycle, relative to the period of the action
    left_handed: float  # probability that an action is mirrored


@cache
def _body(*key: int) -> Body:
    """Return the body of the person with this key."""
    rng = np.random.default_rng(key)
    rest = {name: np.multiply(offset, rng.uniform(0.92, 1.08)) for name, offset in _OFFSETS.items()}
    offsets = []
    for name, side in map(_side, NTU25.joints):
        offsets.append(rest.get(name, np.zeros(3)) * (side or 1, 1, 1))
    # the order of the draws is part of the data set
    return Body(
        offsets=np.array(offsets) * rng.uniform(0.88, 1.12),
        posture=rng.normal(0, 0.3, _SWAYS.shape) * _SWAYS,
        amplitude=rng.uniform(0.8, 1.1),
        tempo=rng.uniform(0.75, 1.3),
        left_handed=rng.choice([0.2, 0.8]),
    )


def _phase(rng: np.random.Generator, frames: int, period: float) -> np.ndarray:
    """Return the phase (T,) in cycles: at least one, from a random start, at an uneven pace."""
    time = np.linspace(0, 1, frames)
    waves = rng.integers(1, 4)
    pace = time + 0.1 * rng.random() / waves * np.sin(2 * np.pi * (waves * time + rng.random()))
    start = rng.random()
    cycles = max(1.1, frames / FPS / (period * rng.uniform(0.7, 1.4)))
    return start + cycles * pace


def _envelope(name: str, phase: np.ndarray) -> np.ndarray:
    """Return the weight (T,) of a move, 0 to 1, at phases (T,)."""
    if name == 'step':
        return np.maximum(0, np.sin(2 * np.pi * phase))
    if name == 'counter':
        return np.maximum(0, -np.sin(2 * np.pi * phase))
    if name == 'beat':
        return _envelope('hold', phase) * (0.5 - 0.5 * np.cos(8 * np.pi * phase))

    points = np.array(_ENVELOPES[name]).reshape(2, 2, 1)  # rise and fall, from and to
    start, end = points[:, 0], points[:, 1]
    ramp = np.clip((phase % 1 - start) / (end - start), 0, 1)  # (2, T)
    rise, fall = ramp**2 * (3 - 2 * ramp)
    return rise - fall


def _idle(rng: np.random.Generator, posture: np.ndarray, frames: int) -> np.ndarray:
    """Return the rotations (T, V + 1, 3) of an idle person."""
    start, rate, size = rng.random((3, *_SWAYS.shape))
    cycles_per_frame = (0.1 + 0.7 * rate) / FPS
    wave = np.sin(2 * np.pi * (start + cycles_per_frame * np.arange(frames)[:, None, None]))
    angles = posture + _SWAYS * (rng.normal(0, 0.6, _SWAYS.shape) + 1.3 * size * wave)

    for side in ('left', 'right'):
        *shoulder, elbow = _ARMS[rng.integers(len(_ARMS))]
        angles[:, _ROWS[f'{side}_shoulder']] += shoulder
        angles[:, _ROWS[f'{side}_elbow'], 0] += elbow
    return angles


def _perform(rng: np.random.Generator, body: Body, moves: str, phase: np.ndarray) -> np.ndarray:
    """Return the joints (T, V, 3) of a person who performs moves; the origin is on the floor."""
    angles = _idle(rng, body.posture, len(phase))
    amplitude = body.amplitude * rng.uniform(0.8, 1.1)
    weights = {name: amplitude * _envelope(name, phase)[:, None] for _, name, _ in _parse(moves)}

    for joint, envelope, target in _parse(moves):
        idle = angles[:, _ROWS[joint]]
        idle += weights[envelope] * (target * rng.normal(1, 0.12, 3) - idle)
    return _forward_kinematics(angles, body.offsets)


def _forward_kinematics(angles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return joints (T, V, 3) for rotations (T, V + 1, 3) and offsets (V, 3).

    The lowest joint is on the floor; the last row of the rotations is the travel of the body.
    """
    ahead, out, twist = np.transpose(angles * _SIGNS)[:, :-1]  # (V, T) each
    turn = _rotation(2, out) @ _rotation(0, ahead) @ _rotation(1, twist)  # (V, T, 3, 3)

    joints = np.zeros(turn.shape[:-1])  # (V, T, 3)
    for joint, parent in _TREE:
        joints[joint] = joints[parent] + turn[parent] @ offsets[joint]
        np.matmul(turn[parent], turn[joint], out=turn[joint])

    joints[..., 1] -= joints[..., 1].min(axis=0)
    return joints.swapaxes(0, 1) + angles[:, -1:, [1, 2, 0]]


def _film(rng: np.random.Generator, persons: np.ndarray, azimuth: float) -> np.ndarray:
    """Return persons (M, T, V, 3) in the frame of a camera at an azimuth.

    Two persons stand sideways to the camera.
    """
    facing = 180 + azimuth + rng.normal(0, 20)
    if len(persons) > 1:
        facing += rng.choice([-70, 70])
    # origin of the persons in the frame of a level camera
    place = rng.uniform((-0.4, -1.5, 2.7), (0.4, -0.8, 3.8))
    tilt = rng.normal(0, 6)
    return (persons @ _rotation(1, facing).T + place) @ _rotation(0, tilt).T


def _disturb(rng: np.random.Generator, keypoint: np.ndarray) -> np.ndarray:
    """Add sensor faults: jitter of all joints, joints that jump for a frame, lost bodies."""
    noise = rng.normal(0, rng.uniform(0.008, 0.02), keypoint.shape)
    jumps = rng.random(keypoint.shape[:3]) < 0.004
    noise[jumps] += rng.normal(0, 0.15, (jumps.sum(), 3))

    lost = rng.random(keypoint.shape[:2]) < 0.01
    for _ in range(2):
        lost[:, 1:] |= lost[:, :-1] & (rng.random(lost[:, 1:].shape) < 0.5)
    return np.where(lost[..., None, None], 0, keypoint + noise)


def check_numbers(**values: int) -> None:
    """Raise ValueError for a value outside its limits."""
    for name, value in values.items():
        low, high = _LIMITS[name]
        if not low <= value <= high:
            raise ValueError(f'{name}={value} is out of range; it must be {low} to {high}')


def label_of(action: str | int) -> int:
    """Return the class index of the name or index of an action."""
    if not isinstance(action, str):
        check_numbers(action=action)
        return int(action)
    if action not in ACTIONS:
        raise ValueError(f'unknown action {action!r}; known are {list(ACTIONS)}')
    return ACTIONS.index(action)


def synthesize(
    action: str | int,
    subject: int,
    camera: int,
    repetition: int,
    seed: int = 0,
    *,
    noise: bool = True,
) -> np.ndarray:
    """Generate one recording; the same arguments give the same recording.

    Args:
        action: a name in ``ACTIONS`` or its index.
        subject: 1-based number of the actor, whose body and habits are the same in all recordings.
        camera: 1-based number of the view in ``CAMERA_AZIMUTHS``.
        repetition: 1-based number of the performance in front of this camera.
        seed: seed of the whole data set, 0 to 2**32 - 1.
        noise: whether the sensor adds jitter, jumps of joints and lost bodies (frames of zeros).

    Returns:
        keypoint: (M, T, V, 3) float32, meters in the camera frame, 30 frames per second; M is 1 or
            2 persons.

    Raises:
        ValueError: if an argument is out of range.
    """
    label = label_of(action)
    check_numbers(subject=subject, camera=camera, repetition=repetition, seed=seed)
    rng = np.random.default_rng((seed, subject, camera, repetition, label))
    spec = _ACTIONS[ACTIONS[label]]
    body = _body(seed, subject)

    frames = int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1))
    phase = _phase(rng, frames, spec.period * body.tempo)
    persons = _perform(rng, body, spec.moves, phase)[None]  # (1, T, V, 3)
    if spec.partner:
        persons = _add_partner(rng, persons[0], _body(seed, subject, 1), spec, phase)

    if rng.random() < body.left_handed:
        persons = persons[:, :, list(NTU25.mirror)] * (-1, 1, 1)
    keypoint = _film(rng, persons, CAMERA_AZIMUTHS[camera - 1])
    if noise:
        keypoint = _disturb(rng, keypoint)
    return keypoint.astype(np.float32)


def _add_partner(
    rng: np.random.Generator, actor: np.ndarray, body: Body, spec: Action, phase: np.ndarray
) -> np.ndarray:
    """Return the actor (T, V, 3) and a partner face to face, (2, T, V, 3) in random order."""
    partner = _perform(rng, body, spec.partner, phase - rng.uniform(0, 0.04))
    partner = partner @ _rotation(1, 180 + rng.normal(0, 12)).T
    half = np.array([rng.normal(0, 0.03), 0, spec.distance * rng.uniform(0.45, 0.58)])
    return rng.permutation(np.stack([actor - half, partner + half]))
