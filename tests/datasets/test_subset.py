"""Class-balanced subsets: counts against loops and scikit-learn, seeds, and use in the dataset."""

import collections
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from aimclr_mm.datasets import SkeletonDataset, write_pickle
from aimclr_mm.datasets.subset import balanced_draw
from tests.datasets.helpers import annotation

SHARES = [0.01, 0.05, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0]


def labels_of(*sizes: int) -> np.ndarray:
    """Return shuffled labels of classes of these sizes."""
    return np.random.default_rng(5).permutation(np.repeat(np.arange(len(sizes)), sizes))


def counts(labels: np.ndarray, drawn: np.ndarray) -> dict[int, int]:
    """Count the drawn sequences of each class."""
    return dict(sorted(collections.Counter(labels[drawn].tolist()).items()))


def check(labels: np.ndarray, share: float, drawn: np.ndarray) -> None:
    """Check a draw: distinct indices, and for each class its quota rounded, but at least one."""
    assert (
        drawn.tolist() == sorted(set(drawn.tolist())) and drawn[0] >= 0 and drawn[-1] < len(labels)
    )
    sizes, mine = collections.Counter(labels.tolist()), counts(labels, drawn)
    assert set(mine) == set(sizes)
    for label, size in sizes.items():
        quota = Fraction(share) * size
        assert 1 <= mine[label] <= size
        assert mine[label] - 1 <= quota + Fraction(1, 10**6) or mine[label] == 1
        assert mine[label] > quota - 1 - Fraction(1, 10**6)
    least = sum(max(int(share * size + 1e-9), 1) for size in sizes.values())
    assert len(drawn) == max(int(np.floor(share * len(labels) + 0.5)), least)


@pytest.mark.parametrize('share', SHARES)
@pytest.mark.parametrize(
    'sizes',
    [
        (100, 100, 100),
        (7, 50, 300, 1),
        (1,),
        (1, 1, 1, 1),
        (2, 3, 5, 7, 11, 13),
        (431,),
        tuple(range(1, 41)),
    ],
)
def test_counts(sizes, share):
    labels = labels_of(*sizes)
    check(labels, share, balanced_draw(labels, share, 3))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=25),
    st.floats(0.001, 1),
    st.integers(0, 2**32 - 1),
)
def test_counts_of_imbalanced_labels(sizes, share, seed):
    labels = np.repeat(np.arange(len(sizes)) * 3 + 2, sizes)
    check(labels, share, balanced_draw(labels, share, seed))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), st.floats(0.01, 1), st.integers(0, 9))
def test_order_of_labels_is_any(labels, share, seed):
    labels = np.array(labels)
    drawn = balanced_draw(labels, share, seed)
    check(labels, share, drawn)
    assert np.array_equal(drawn, balanced_draw(labels.tolist(), share, seed))


@pytest.mark.parametrize('share', [0.01, 0.1, 0.2, 0.5])
@pytest.mark.parametrize(
    'sizes', [(100, 200, 300), (668,) * 60, (150, 80, 220, 500, 115), (431, 100)]
)
def test_counts_are_those_of_scikit_learn(sizes, share):
    """For classes with a quota of at least one; ties of remainders may be broken either way."""
    labels = labels_of(*sizes)
    total = int(np.floor(share * len(labels) + 0.5))
    split = StratifiedShuffleSplit(1, train_size=total, random_state=0)
    theirs, _ = next(split.split(np.zeros((len(labels), 1)), labels))
    ours = counts(labels, balanced_draw(labels, share))
    assert total >= len(sizes) and sum(ours.values()) == total
    expected = counts(labels, theirs)
    remainders = [share * size % 1 for size in sizes]
    if len(set(np.round(remainders, 9))) == len(sizes) or all(r < 1e-9 for r in remainders):
        assert ours == expected
    assert sorted(ours.values()) == sorted(expected.values()) and set(ours) == set(expected)


def test_remainders_go_to_the_largest_by_hand():
    labels = labels_of(14, 16, 19, 11)  # quotas 1.4, 1.6, 1.9, 1.1; 6 in all
    assert counts(labels, balanced_draw(labels, 0.1)) == {0: 1, 1: 2, 2: 2, 3: 1}


def test_small_classes_get_one_and_all_of_them_at_most():
    labels = labels_of(3, 3, 94)
    assert counts(labels, balanced_draw(labels, 0.1)) == {0: 1, 1: 1, 2: 9}
    labels = labels_of(1, 1, 1, 2)
    assert counts(labels, balanced_draw(labels, 0.5)) == {0: 1, 1: 1, 2: 1, 3: 1}


def test_paper_shares_of_ntu():
    labels = labels_of(*[668] * 11, *[667] * 49)  # 40,031 sequences of 60 classes
    assert len(balanced_draw(labels, 0.01)) == 400 and len(balanced_draw(labels, 0.1)) == 4003
    assert set(counts(labels, balanced_draw(labels, 0.01)).values()) == {6, 7}


def test_seeds():
    labels = labels_of(40, 30, 50)
    draws = [tuple(balanced_draw(labels, 0.2, seed)) for seed in range(20)]
    assert tuple(balanced_draw(labels, 0.2, 7)) == draws[7] and len(set(draws)) == 20
    np.random.seed(0)
    assert tuple(balanced_draw(labels, 0.2, 7)) == draws[7]  # whatever the global state
    assert draws[0] == tuple(balanced_draw(labels, 0.2))


def test_every_sequence_has_the_same_chance():
    labels, seen = labels_of(10, 30), np.zeros(40)
    for seed in range(400):
        seen[balanced_draw(labels, 0.2, seed)] += 1
    assert (np.abs(seen / 400 - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / 400)).all()


def test_equal_remainders_do_not_always_favor_the_same_class():
    labels, extra = labels_of(15, 15, 15, 15), collections.Counter()
    for seed in range(60):
        extra.update(
            label for label, n in counts(labels, balanced_draw(labels, 0.1, seed)).items() if n == 2
        )
    assert set(extra) == {0, 1, 2, 3} and sum(extra.values()) == 120  # two of four at a time


def test_all_of_them():
    labels = labels_of(4, 9, 1)
    assert balanced_draw(labels, 1.0).tolist() == list(range(14))


@pytest.mark.parametrize('share', [0, -0.1, 1.0001, 10, float('nan'), float('inf')])
def test_share_out_of_range(share):
    with pytest.raises(ValueError, match=r'fraction=.*\(0, 1\]'):
        balanced_draw([0, 1], share)


# --- use in the dataset ---


@pytest.fixture
def ann_file(tmp_path) -> str:
    """Fifty sequences of three classes to train on, ten to test on."""
    labels = labels_of(25, 15, 10).tolist() + [0] * 10
    names = [f's{i}' for i in range(60)]
    write_pickle(
        dict(
            split=dict(train=names[:50], val=names[50:]),
            annotations=[annotation(name, label) for name, label in zip(names, labels)],
        ),
        str(tmp_path / 'data.pkl'),
    )
    return str(tmp_path / 'data.pkl')


def members(dataset: SkeletonDataset) -> list[tuple[str, str]]:
    """Name and role of each sequence."""
    return [
        (info['frame_dir'], info['role'])
        for info in map(dataset.get_data_info, range(len(dataset)))
    ]


@pytest.mark.parametrize(
    'cache', [[], [dict(type='mmaction.FormatGCNInput', num_person=2)]], ids=['plain', 'cached']
)
def test_data_set_uses_a_share(ann_file, cache):
    dataset = SkeletonDataset(
        ann_file, [], 'train', preprocess=cache, fraction=0.2, fraction_seed=4
    )
    labels = np.array([dataset.get_data_info(i)['label'] for i in range(len(dataset))])
    assert counts(labels, np.arange(10)) == {0: 5, 1: 3, 2: 2} and len(dataset) == 10
    again = SkeletonDataset(ann_file, [], 'train', preprocess=cache, fraction=0.2, fraction_seed=4)
    other = SkeletonDataset(ann_file, [], 'train', preprocess=cache, fraction=0.2, fraction_seed=5)
    assert members(dataset) == members(again) != members(other)
    if cache:  # arrays are those of the drawn sequences
        whole = SkeletonDataset(ann_file, [], 'train', preprocess=cache)
        by_name = {info['frame_dir']: info for info in map(whole.get_data_info, range(len(whole)))}
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            assert np.array_equal(info['keypoint'], by_name[info['frame_dir']]['keypoint'])


def test_queries_are_never_drawn(ann_file):
    roles = collections.Counter(
        role for _, role in members(SkeletonDataset(ann_file, [], ['train', 'val'], fraction=0.1))
    )
    assert roles == dict(gallery=5, query=10)


@pytest.mark.parametrize('fraction', [0, 1.5, -1])
def test_data_set_refuses_other_shares(ann_file, fraction):
    with pytest.raises(ValueError, match=f'fraction={fraction}'):
        SkeletonDataset(ann_file, [], 'train', fraction=fraction)


def test_share_of_sequences_without_labels(tmp_path):
    write_pickle([annotation('a', 0), annotation('b', None)], str(tmp_path / 'data.pkl'))
    with pytest.raises(ValueError, match='without a label, so fraction=0.5'):
        SkeletonDataset(str(tmp_path / 'data.pkl'), [], fraction=0.5)
    assert len(SkeletonDataset(str(tmp_path / 'data.pkl'), [], fraction=1)) == 2


@pytest.mark.parametrize('label, given', [(3, '3'), (-1, '-1'), (None, 'None'), (100, '100')])
@pytest.mark.parametrize('split', ['train', ['val', 'train']])
def test_labels_must_be_below_the_number_of_classes(tmp_path, label, given, split):
    data = dict(
        split=dict(train=['a', 'bad'], val=['c']),
        annotations=[annotation('a', 2), annotation('bad', label), annotation('c', 0)],
    )
    write_pickle(data, str(tmp_path / 'data.pkl'))
    with pytest.raises(
        ValueError, match=f"'bad' has the label {given}, but the config has 3 classes.*num_classes"
    ):
        SkeletonDataset(str(tmp_path / 'data.pkl'), [], split, num_classes=3)
    assert len(SkeletonDataset(str(tmp_path / 'data.pkl'), [], 'val', num_classes=3)) == 1
    assert len(SkeletonDataset(str(tmp_path / 'data.pkl'), [], split)) == 2 + (split != 'train')
