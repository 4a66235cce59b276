"""Simulated sensors: a Kinect with joints in meters, a pose estimator with joints in pixels.

Joints are transformed from the frame of the person to that of a Kinect (x to the left of the
camera, y up, z away from it) or of an image (x right, y down, pixels).
"""

from __future__ import annotations

import torch
from torch import Tensor

from aimclr_mm.skeletons import COCO17, NTU25

from .performance import turn
from .sampling import chance, smooth_noise, uniform

FOCAL_LENGTH = (0.8, 1.3)  # in picture heights
PICTURE = (1920, 1080)  # pixels


def film(joints: Tensor) -> Tensor:
    """Turn people (N, T, V, 3) roughly to a camera and return them in its frame."""
    n = len(joints)
    facing = turn(1, 180 + 35 * torch.randn(n))
    camera = turn(0, 8 * torch.randn(n)) @ turn(2, 3 * torch.randn(n))
    place = torch.stack([uniform(-0.5, 0.5, n), uniform(-1.3, -0.7, n), uniform(2, 4, n)], dim=-1)
    return torch.einsum('nij,ntvj->ntvi', camera @ facing, joints) + place[:, None, None]


def add_depth_noise(x: Tensor) -> Tensor:
    """Add the errors of a depth camera to joints (N, T, V, 3) in its frame.

    These are jitter, in half of the recordings stronger for joints behind the pelvis; joints that
    drift away for some frames, in 40 % of the recordings; and single joints that jump.
    """
    n, frames, joints, _ = x.shape
    behind = (x[..., 2:] - x[:, :, :1, 2:]).clamp(min=0)
    size = uniform(0.003, 0.012, n, 1, 1, 1) + 0.08 * behind * chance(0.5, n, 1, 1, 1)
    slow = smooth_noise(n, frames, frames // 4 + 2, joints, 3)
    x = x + size * (0.6 * torch.randn_like(x) + slow)

    drifting = chance(0.04, n, 1, joints, 1) & chance(0.4, n, 1, 1, 1)
    x = x + 0.15 * smooth_noise(n, frames, 5, joints, 3) * drifting
    return x + 0.2 * torch.randn_like(x) * chance(0.002, n, frames, joints, 1)


def to_coco(joints: Tensor) -> Tensor:
    """Return the 17 joints of COCO (N, T, 17, 3) of performances (N, T, 25, 3), in their frame.

    NTU's layout has no face: nose, eyes and ears are placed around the head, whose orientation
    follows from the neck and the shoulders.
    """
    at = {name: joints[:, :, NTU25.index(name)] for name in NTU25.joints}
    n = len(joints)
    up = torch.nn.functional.normalize(at['head'] - at['neck'], dim=-1)
    left = torch.nn.functional.normalize(at['left_shoulder'] - at['right_shoulder'], dim=-1)
    ahead = torch.cross(left, up, dim=-1)

    scale = uniform(0.9, 1.1, n, 1, 1)
    face = {'nose': (0, -0.02, 0.10), 'eye': (0.035, 0.015, 0.08), 'ear': (0.075, 0, 0)}
    for name, (x, y, z) in face.items():
        for side, sign in (('left_', 1), ('right_', -1)) if x else (('', 0),):
            offset = sign * x * left + y * up + z * ahead
            at[side + name] = at['head'] + scale * offset
    return torch.stack([at[name] for name in COCO17.joints], dim=2)


def project(x: Tensor) -> Tensor:
    """Project joints (N, T, V, 3) in the frame of a camera to a picture, (N, T, V, 2) in pixels."""
    width, height = PICTURE
    focal = height * uniform(*FOCAL_LENGTH, len(x), 1, 1)
    depth = x[..., 2].clamp(min=0.3)
    column = width / 2 - focal * x[..., 0] / depth
    row = height / 2 - focal * x[..., 1] / depth
    return torch.stack([column, row], dim=-1)


def add_estimator_noise(x: Tensor) -> Tensor:
    """Add the errors of a pose estimator to poses (N, T, V, 2) in pixels, and its scores.

    These are jitter in proportion to the height of the person, seven times as strong for joints
    that are missed for some frames, whose scores are below 0.3; and single joints that jump.

    Returns:
        (N, T, V, 3) x, y and score.
    """
    n, frames, joints, _ = x.shape
    size = (x[..., 1].amax(dim=(1, 2)) - x[..., 1].amin(dim=(1, 2))).view(n, 1, 1, 1)

    visible = uniform(0.6, 1, n, 1, joints) + 0.15 * smooth_noise(n, frames, 6, joints)
    missed = chance(0.06, n, 1, joints) & chance(0.4, n, 1, 1)
    missed = missed & (smooth_noise(n, frames, 6, joints) > 0)
    score = torch.where(missed, uniform(0.05, 0.3, n, frames, joints), visible.clamp(0.3, 1))

    jitter = uniform(0.003, 0.01, n, 1, 1, 1) * (1 + 6 * missed[..., None])
    noise = torch.randn_like(x) + smooth_noise(n, frames, frames // 4 + 2, joints, 2)
    x = x + size * jitter * noise
    x = x + size * 0.1 * torch.randn_like(x) * chance(0.002, n, frames, joints, 1)
    return torch.cat([x, score[..., None]], dim=-1)
