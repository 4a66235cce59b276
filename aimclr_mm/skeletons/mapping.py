"""Mapping of sequences from one joint layout to another.

A joint of the target that the source has, too, is taken as it is. The others are linear
combinations of joints of the source by the rules of :data:`RULES`. The weights of a joint sum to 1,
so translation, rotation and scaling commute with the mapping. Between layouts with different axes
(:data:`Y_DOWN`) the result is turned by 180 degrees about z.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .layouts import Layout, LayoutLike, get_layout

Weights = dict[str, float]  # joint of the source -> its weight

# layouts that can be mapped to each other, by the number of coordinates
GROUPS: dict[int, tuple[str, ...]] = {
    3: ('ntu25', 'kinect20', 'openni15', 'azure32', 'mocap21', 'mediapipe33'),
    2: ('coco17', 'openpose18', 'openpose25', 'halpe26', 'mediapipe33', 'mediapipe33_2d'),
}

# 3-D layouts whose projects have x to the right and y down; the others have x to the left and y up,
# as a Kinect has. z points away from the camera in both.
Y_DOWN = ('azure32', 'mediapipe33')

# joints that the rules know by another name, because another layout has them in the same place
_TOES = dict(left_foot_index='left_big_toe', right_foot_index='right_big_toe')
SAME_PLACE: dict[str, dict[str, str]] = {
    'ntu25': dict(spine_base='hip_center', spine_shoulder='shoulder_center'),
    'openni15': dict(neck='shoulder_center'),
    'azure32': dict(pelvis='hip_center'),
    'openpose18': dict(neck='shoulder_center'),
    'openpose25': dict(neck='shoulder_center', mid_hip='hip_center'),
    'halpe26': dict(neck='shoulder_center', hip='hip_center', head='head_top'),
    'mediapipe33': _TOES,
    'mediapipe33_2d': _TOES,
}


def _mean(*joints: str) -> Weights:
    """Return the weights of the mean of joints."""
    return dict.fromkeys(joints, 1 / len(joints))


def _at(start: str | Weights, end: str | Weights, position: float) -> Weights:
    """Return the weights of a point on the line from ``start`` (0) to ``end`` (1) and beyond."""
    return _sum(
        (joint, share * weight)
        for point, share in ((start, 1 - position), (end, position))
        for joint, weight in (_mean(point) if isinstance(point, str) else point).items()
    )


def _sum(terms: Iterable[tuple[str, float]]) -> Weights:
    """Return the weights of a sum in which joints may occur several times."""
    weights: Weights = {}
    for joint, weight in terms:
        weights[joint] = weights.get(joint, 0) + weight
    return weights


_HIPS = _mean('left_hip', 'right_hip')
_SHOULDERS = _mean('left_shoulder', 'right_shoulder')
_EARS = _mean('left_ear', 'right_ear')

# Joint -> rules, of which the first applies whose joints the source has; `*` stands for the side.
# Positions on the spine and the arm are medians of UTD-MHAD (Kinect v1): the spine joint is at 0.18
# from the hips to the shoulders, the wrist at 0.77 from the elbow to the hand. The other joints of
# a Kinect's spine and those of the hands are at customary proportions of the body.
RULES: dict[str, tuple[str | Weights, ...]] = {
    'hip_center': (_HIPS,),
    'spine': (
        _at('hip_center', 'spine_navel', 0.5),
        'spine_mid',
        _at(_HIPS, 'torso', 0.4),
        _at(_HIPS, _SHOULDERS, 0.18),
    ),
    'spine_navel': (
        _at('hip_center', 'spine_mid', 0.6),
        _at('spine', 'shoulder_center', 0.2),
        _at(_HIPS, 'torso', 2 / 3),
        _at(_HIPS, _SHOULDERS, 1 / 3),
    ),
    'torso': (
        _mean('spine_navel', 'spine_chest'),
        'spine_mid',
        _mean('hip_center', 'shoulder_center'),
        _at(_HIPS, _SHOULDERS, 0.5),
    ),
    'spine_mid': ('spine_chest', 'spine', 'torso', _at(_HIPS, _SHOULDERS, 0.6)),
    'spine_chest': (
        'spine_mid',
        _at('spine', 'shoulder_center', 0.5),
        _at('torso', 'shoulder_center', 0.2),
        _at(_HIPS, _SHOULDERS, 0.6),
    ),
    'shoulder_center': (_mean('left_clavicle', 'right_clavicle'), _SHOULDERS),
    'neck': (_at('shoulder_center', 'head', 1 / 3), _at(_SHOULDERS, _EARS, 1 / 3)),
    'head': (_EARS,),
    'head_top': (_at(_SHOULDERS, 'nose', 1.7),),
    'nose': ('head',),
    '*_eye': ('head',),
    '*_eye_inner': ('*_eye', 'head'),
    '*_eye_outer': ('*_eye', 'head'),
    '*_ear': ('head',),
    '*_mouth': ('nose', 'head'),
    '*_clavicle': (
        _at('shoulder_center', '*_shoulder', 0.25),
        _at(_SHOULDERS, '*_shoulder', 0.25),
    ),
    '*_wrist': (_at('*_elbow', '*_hand', 0.77),),
    '*_hand': (
        _mean('*_wrist', '*_index', '*_pinky'),
        _at('*_elbow', '*_wrist', 1 / 0.77),
    ),
    '*_hand_tip': (
        _at('*_wrist', '*_hand', 1.9),
        _at('*_wrist', _mean('*_index', '*_pinky'), 1.27),
        _at('*_elbow', '*_hand', 1.2),
        _at('*_elbow', '*_wrist', 1.57),
    ),
    '*_thumb': ('*_hand', '*_wrist'),
    '*_index': ('*_hand', '*_wrist'),
    '*_pinky': ('*_hand', '*_wrist'),
    '*_ankle': ('*_foot',),
    '*_foot': ('*_big_toe',),
    '*_heel': ('*_ankle', '*_foot'),
    '*_big_toe': ('*_foot', '*_ankle'),
    '*_small_toe': ('*_big_toe', '*_ankle'),
}


def map_layout(
    x: np.ndarray | Tensor, source: LayoutLike, target: LayoutLike
) -> np.ndarray | Tensor:
    """Map sequences to another joint layout, and to its axes.

    Args:
        x: (..., V, C) in the source's order: its C coordinates, optionally followed by a score.
            A joint is missing where all of its coordinates, or its score, are 0. Map sequences
            before they are centered, which moves the center to 0.
        source, target: layouts, see :func:`get_layout`. ``mediapipe33`` stands for world landmarks
            (3 coordinates) or landmarks in the image (2), as the other layout has it.

    Returns:
        (..., V of the target, C) of the type of ``x``; float32 for integers. Joints made from a
        missing one are 0. The score of a joint is the smallest of those that it is made from.

    Raises:
        ValueError: if there are no rules for the pair, or the shape does not match the source.
    """
    source, target = get_layout(source), get_layout(target)
    if source.joints == target.joints:
        return x

    dims = mapped_dims(source, target)
    if x.ndim < 2 or x.shape[-2] != source.num_joints or x.shape[-1] not in (dims, dims + 1):
        raise ValueError(
            f'x has shape {tuple(x.shape)}; to map {source.name} to {target.name} it must be '
            f'(..., {source.num_joints}, {dims}), or (..., {source.num_joints}, {dims + 1}) with '
            'scores'
        )
    if isinstance(x, Tensor):
        return _map(x, source, target, dims)
    return _map(torch.from_numpy(np.array(x)), source, target, dims).numpy()


def mapped_dims(source: Layout, target: Layout) -> int:
    """Return the number of coordinates, 2 or 3, that a mapping between two layouts has.

    Raises:
        ValueError: if there are no rules for the pair.
    """
    for dims, names in GROUPS.items():
        if all(layout.to_config() in names for layout in (source, target)):
            return dims

    known = '; or '.join(', '.join(names) for names in GROUPS.values())
    raise ValueError(
        f'there are no rules that map layout {source.name!r} to {target.name!r}; known are the '
        f'pairs among {known}'
    )


@lru_cache(maxsize=64)
def mapping_matrix(source: Layout, target: Layout) -> Tensor:
    """Return the weights of the mapping, (V of the target, V of the source) float64."""
    names = SAME_PLACE.get(source.name, {})
    places = {names.get(joint, joint): place for place, joint in enumerate(source.joints)}

    matrix = torch.zeros(target.num_joints, source.num_joints, dtype=torch.float64)
    for row, joint in zip(matrix, target.joints):
        name = SAME_PLACE.get(target.name, {}).get(joint, joint)
        for used, weight in _find_rule(name, places).items():
            row[places[used]] = weight
    return matrix


def _find_rule(joint: str, places: Mapping[str, int]) -> Weights:
    """Return the weights that make a joint from those in ``places``."""
    if joint in places:
        return {joint: 1.0}

    side = joint.split('_')[0]
    pattern = joint.replace(side, '*', 1) if side in ('left', 'right') else joint
    for rule in RULES[pattern]:
        weights = _mean(rule) if isinstance(rule, str) else rule
        weights = _sum((name.replace('*', side), weight) for name, weight in weights.items())
        if set(weights) <= set(places):
            return weights
    raise ValueError(f'no rule makes {joint!r} from {sorted(places)}')


def _map(x: Tensor, source: Layout, target: Layout, dims: int) -> Tensor:
    """Map a tensor (..., V, C) of ``dims`` coordinates and optionally a score."""
    matrix = mapping_matrix(source, target)
    used = [row.nonzero().flatten().tolist() for row in matrix]
    dtype = x.dtype if x.is_floating_point() else torch.float32

    # half precision on a CPU has slow products, and loses digits of sums
    precise = torch.promote_types(dtype, torch.float32)
    mapped = matrix.to(x.device, precise) @ x.to(precise)  # (..., V of the target, C)
    if dims == 3 and (source.name in Y_DOWN) != (target.name in Y_DOWN):
        mapped[..., :2] *= -1
    present = (x[..., :dims] != 0).any(-1)
    if x.shape[-1] > dims:
        scores = x[..., dims]
        present &= scores != 0
        mapped[..., dims] = _minimum(scores.to(precise), used)
    return (mapped * _minimum(present, used)[..., None]).to(dtype)


def _minimum(values: Tensor, used: list[list[int]]) -> Tensor:
    """Return the minimum of ``values`` (..., V) over the joints that each target joint uses."""
    return torch.stack([values[..., joints].amin(-1) for joints in used], -1)
