"""Views: chains of transforms against one sample and one person at a time, and their draws."""

import pytest
import torch
from mmaction.registry import TRANSFORMS
from torch import Tensor

from aimclr_mm.models import SkeletonViews
from aimclr_mm.transforms import SkeletonTransform

NAMES = [
    'TemporalCrop',
    'Shear',
    'SpatialFlip',
    'Rotate',
    'GaussianNoise',
    'GaussianBlur',
    'AxisMask',
    'TemporalFlip',
]
NORMAL = [dict(type='TemporalCrop'), dict(type='Shear')]
EXTREME = [dict(type=name) for name in NAMES]


def skeletons(channels: int = 3, joints: int = 25, absent: list[tuple[int, int]] = ()) -> Tensor:
    """Return six samples (6, 2, 20, V, C) in which some people are absent."""
    x = torch.randn(6, 2, 20, joints, channels)
    for sample, person in absent:
        x[sample, person] = 0
    return x


def one_by_one(transform: SkeletonTransform, x: Tensor) -> Tensor:
    """Transform each chosen sample and person on its own, in float64."""
    params = {name: drawn.clone() for name, drawn in transform.draw(x.float()).items()}
    chosen = torch.ones(len(x)) if transform.p == 1 else torch.rand(len(x)) < transform.p

    y = x.clone()
    for sample in chosen.nonzero()[:, 0].tolist():
        own = {name: drawn[[sample]] for name, drawn in params.items()}
        own = {k: v.double() if v.is_floating_point() else v for k, v in own.items()}
        for person in range(x.shape[1]):
            if 'noise' in params:
                own = {'noise': params['noise'][[sample]][:, [person]].double()}
            y[sample, person] = transform.apply(x[[sample]][:, [person]], **own)[0, 0]
    return y


@pytest.mark.parametrize(
    'layout, channels, joints', [('ntu25', 3, 25), ('ntu25', 4, 25), ('coco17', 3, 17)]
)
@pytest.mark.parametrize(
    'absent', [[], [(0, 1), (1, 1), (4, 0), (4, 1)], [(n, m) for n in range(6) for m in range(2)]]
)
@pytest.mark.parametrize('seed', range(8))
def test_chain_equals_one_by_one(layout, channels, joints, absent, seed):
    torch.manual_seed(seed)
    x = skeletons(channels, joints, absent)
    names = [NAMES[i] for i in torch.randperm(8).tolist()] if seed else NAMES
    chain = [
        TRANSFORMS.build(dict(type=name, layout=layout, p=1.0 if i % 3 == 0 else 0.6))
        for i, name in enumerate(names)
    ]

    given = x.clone()
    torch.manual_seed(seed)
    view = x
    for transform in chain:
        view = transform.batch(view)
    assert torch.equal(x, given) and view.shape == x.shape and view.dtype == x.dtype

    torch.manual_seed(seed)
    expected = x.double()
    for transform in chain:
        expected = one_by_one(transform, expected)
    torch.testing.assert_close(view.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_draw_looks_at_shape_dtype_and_device_only(name):
    transform = TRANSFORMS.build(dict(type=name))
    drawn = []
    for x in (skeletons(), torch.zeros(6, 2, 20, 25, 3)):
        torch.manual_seed(3)
        drawn.append(transform.draw(x))
    first, second = drawn
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert len(value) == 6 and torch.equal(value, second[key])


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('p', [1.0, 0.5])
def test_transforms_know_whether_they_are_random(name, p):
    transform = TRANSFORMS.build(dict(type=name, p=p))
    draws = name not in ('SpatialFlip', 'TemporalFlip')
    assert transform.is_random == (draws or p < 1)
    assert not TRANSFORMS.build(dict(type='CenterSkeleton')).is_random


def test_views_are_drawn_independently_and_the_batch_stays_as_it_is():
    views = SkeletonViews(query=NORMAL, key=NORMAL, extreme=EXTREME)
    x = skeletons()
    given = x.clone()
    made = views.make_views(x)
    assert list(made) == ['query', 'key', 'extreme'] and torch.equal(x, given)
    assert not torch.equal(made['query'], made['key'])
    assert not torch.equal(made['query'], made['extreme'])


def test_views_are_a_function_of_the_seed():
    views = SkeletonViews(query=NORMAL, key=NORMAL, extreme=EXTREME)
    x = skeletons()
    first, second, other = (
        torch.manual_seed(seed) and views.make_views(x)['extreme'] for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_views_are_float32_under_autocast():
    views = SkeletonViews(query=NORMAL, key=NORMAL, extreme=EXTREME)
    x = skeletons()
    torch.manual_seed(1)
    expected = views.make_views(x)
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        made = views.make_views(x)
    for name, view in expected.items():
        assert made[name].dtype == torch.float32 and torch.equal(made[name], view)


def test_absent_people_stay_absent_without_noise():
    quiet = [dict(type=name) for name in NAMES if name != 'GaussianNoise']
    views = SkeletonViews(query=NORMAL, extreme=quiet)
    x = skeletons(absent=[(0, 1), (2, 0)])
    for view in views.make_views(x).values():
        absent = view.flatten(2).eq(0).all(dim=2)
        assert absent.nonzero().tolist() == [[0, 1], [2, 0]]
