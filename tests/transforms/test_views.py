"""Views: whole chains of transforms against one transform, one sample and one person at a time."""

import pytest
import torch
from mmaction.registry import TRANSFORMS

from aimclr_mm.models.data_preprocessor import SkeletonViews
from aimclr_mm.transforms.base import SkeletonTransform, transform_batch
from aimclr_mm.transforms.pending import PendingSkeletons, People

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


def batch(
    channels: int, joints: int, absent: list[tuple[int, int]], people: int = 2
) -> torch.Tensor:
    x = torch.randn(6, people, 20, joints, channels)
    for sample, person in absent:
        x[sample, person] = 0
    return x


class Recorded:
    """A transform whose choice and parameters are kept."""

    def __init__(self, transform):
        self.transform, self.choose, self.draw = transform, transform.choose, transform.draw
        transform.choose, transform.draw = self._choose, self._draw

    def _choose(self, x):
        self.chosen = self.choose(x)
        return self.chosen

    def _draw(self, x):
        self.params = self.draw(x)
        return self.params

    def one_by_one(self, x: torch.Tensor) -> torch.Tensor:
        """The chosen samples one after the other, in float64; parameters were drawn for all or for those chosen."""
        y = x.clone()
        chosen = (
            list(range(len(x))) if self.chosen is None else self.chosen.nonzero()[:, 0].tolist()
        )
        for row, sample in enumerate(chosen):
            params = {
                name: value[[row if len(value) < len(x) else sample]]
                for name, value in self.params.items()
            }
            params = {
                name: value.double() if value.is_floating_point() else value
                for name, value in params.items()
            }
            for person in range(x.shape[1]):
                own = {'noise': params['noise'][:, [person]]} if 'noise' in params else params
                y[sample, person] = self.transform.apply(x[[sample]][:, [person]], **own)[0, 0]
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
    x = batch(channels, joints, absent)
    given = x.clone()
    names = [NAMES[i] for i in torch.randperm(8).tolist()] if seed else NAMES
    chain = [
        Recorded(TRANSFORMS.build(dict(type=name, layout=layout, p=0.6)))
        for name in names
        if layout == 'ntu25' or name != 'Rotate'
    ]
    view = transform_batch([recorded.transform for recorded in chain], People(x))
    assert torch.equal(x, given) and view.shape == x.shape and view.dtype == x.dtype
    expected = x.double()
    for recorded in chain:
        if hasattr(recorded, 'params'):
            expected = recorded.one_by_one(expected)
    torch.testing.assert_close(view.double(), expected, rtol=1e-5, atol=1e-5)


def test_views_share_people_and_leave_each_other_alone():
    x = batch(3, 25, [(0, 1), (3, 1)])
    people = People(x)
    mirror, mask = (
        TRANSFORMS.build(dict(type=name, p=1.0)) for name in ('SpatialFlip', 'AxisMask')
    )
    first = transform_batch([mirror], people)
    second = transform_batch([mirror, mask], people)
    third = transform_batch([TRANSFORMS.build(dict(type='GaussianNoise', p=0.5))], people)
    kept = first.clone()
    first.zero_()
    assert torch.equal(transform_batch([mirror], people), kept)
    assert second.eq(0).flatten(1).any(dim=1).all() and torch.isfinite(third).all()
    assert transform_batch([], people) is x


@pytest.mark.parametrize('order', ['interleaved', 'planes'])
@pytest.mark.parametrize('absent', [[], [(0, 1)]])
@pytest.mark.parametrize(
    'names',
    [
        ['SpatialFlip', 'AxisMask'],
        ['SpatialFlip', 'GaussianNoise'],
        ['SpatialFlip', 'GaussianBlur'],
        ['Identity', 'AxisMask'],
        ['Identity', 'GaussianNoise'],
        ['GaussianBlur', 'GaussianNoise'],
    ],
)
def test_nothing_is_written_into_what_views_share(order, absent, names):
    """The first transform chooses no sample or returns what it was given; the second changes some."""

    class Identity(SkeletonTransform):
        def batch(self, x):
            return x

    x = batch(3, 25, absent)
    x = x if order == 'interleaved' else x.movedim(-1, 2).contiguous().movedim(2, -1)
    people, given = People(x), x.clone()
    planes = people.planes.clone()
    first = Identity() if names[0] == 'Identity' else TRANSFORMS.build(dict(type=names[0], p=0.0))
    view = transform_batch([first, TRANSFORMS.build(dict(type=names[1], p=0.9))], people)
    assert not torch.equal(view, given)
    assert torch.equal(x, given) and torch.equal(people.planes, planes)


def test_factors_and_matrices_in_both_orders():
    x = batch(3, 25, []).double()
    factors, matrix = torch.rand(6, 3).double(), torch.randn(6, 3, 3).double()
    expected = {
        'scale first': torch.einsum('nij,nj,nmtvj->nmtvi', matrix, factors, x),
        'map first': torch.einsum('ni,nij,nmtvj->nmtvi', factors, matrix, x),
        'scale twice': x * factors.square()[:, None, None, None],
    }
    for order, value in expected.items():
        view = PendingSkeletons(x)
        if order != 'map first':
            view.scale(factors, None)
        if order != 'scale twice':
            view.map(matrix, None)
        if order != 'scale first':
            view.scale(factors, None)
        torch.testing.assert_close(view.value(), value)


def test_absent_people_stay_absent_without_noise():
    views = SkeletonViews(
        query=[dict(type='TemporalCrop'), dict(type='Shear')],
        extreme=[dict(type=name) for name in NAMES if name != 'GaussianNoise'],
    )
    x = batch(3, 25, [(0, 1), (2, 0)])
    for view in views.make_views(x).values():
        absent = view.flatten(2).eq(0).all(dim=2)
        assert absent.nonzero().tolist() == [[0, 1], [2, 0]]
