"""Defects and warnings: named and counted when loading or preparing; the rest can be trained on."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from aimclr_mm.datasets import SkeletonDataset, skeleton_dataset, write_pickle
from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import READERS, prepare
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.datasets.readers.pose_pickle import verify

PREPROCESS = [
    dict(type='CenterSkeleton'),
    dict(type='ResizeClip', length=16),
    dict(type='AlignShoulders'),
    dict(type='mmaction.FormatGCNInput', num_person=2),
]
CACHES = pytest.mark.parametrize('cache', [False, True], ids=['plain', 'cached'])
RNG = np.random.default_rng(0)


def sequence(name: str, label: int = 0, people: int = 1, frames: int = 6, **fields) -> dict:
    """One valid sequence, with some fields replaced."""
    keypoint = RNG.normal(size=(people, frames, 25, 3)).astype(np.float32)
    return dict(dict(frame_dir=name, label=label, total_frames=frames, keypoint=keypoint), **fields)


def with_hole(value: float, **fields) -> dict:
    """Return a sequence with one coordinate of this value."""
    broken = sequence('bad', **fields)
    broken['keypoint'][0, 2, 3, 1] = value
    return broken


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that writes and loads annotations; it returns the dataset and its warnings."""
    path, said = str(tmp_path / 'data.pkl'), []
    logger = SimpleNamespace(info=lambda text: None, warning=said.append)
    monkeypatch.setattr(
        skeleton_dataset, 'MMLogger', SimpleNamespace(get_current_instance=lambda: logger)
    )

    def loader(annotations: list, cache: bool = False, split=None, chosen=None, **options):
        said.clear()
        write_pickle(dict(split=split or {}, annotations=annotations), path)
        dataset = SkeletonDataset(path, [], chosen, 'ntu25', PREPROCESS, cache, **options)
        return dataset, [line.removeprefix(f'{path}: ') for line in said]

    return loader


def names(dataset: SkeletonDataset) -> str:
    """Names of all samples in their order."""
    return ''.join(dataset.get_data_info(i)['frame_dir'] for i in range(len(dataset)))


UNUSABLE = {
    'nan': (with_hole(np.nan), "'bad': keypoint holds 1 values that are not finite"),
    'infinity': (with_hole(np.inf), "'bad': keypoint holds 1 values that are not finite"),
    'missing joint': (
        sequence(
            'bad', keypoint=np.where(np.arange(25)[:, None] == 7, np.nan, np.ones((1, 6, 25, 3)))
        ),
        "'bad': keypoint holds 18 values that are not finite",
    ),
    'huge': (
        with_hole(-3e20),
        "'bad': keypoint holds -3e\\+20; coordinates must not exceed 1000000",
    ),
    'huge for float32': (
        sequence('bad', keypoint=np.full((1, 6, 25, 3), 1e300)),
        "'bad': keypoint holds 1e\\+300;",
    ),
    'nan score': (
        sequence('bad', keypoint_score=np.full((1, 6, 25), np.nan)),
        'keypoint_score holds 150 values',
    ),
    'score of another shape': (
        sequence('bad', keypoint_score=np.ones((1, 5, 25))),
        "'bad': keypoint_score has shape",
    ),
    'no frames': (sequence('bad', frames=0), r"'keypoint' of 'bad' has shape \(1, 0, 25, 3\)"),
    'no people': (sequence('bad', people=0), r"'keypoint' of 'bad' has shape \(0, 6, 25, 3\)"),
    'text': (
        sequence('bad', keypoint=np.full((1, 6, 25, 3), 'x')),
        "'bad': keypoint is not an array of numbers",
    ),
    'bool': (
        sequence('bad', keypoint=np.ones((1, 6, 25, 3), bool)),
        "'bad': keypoint is not an array of numbers",
    ),
    'complex': (
        sequence('bad', keypoint=np.ones((1, 6, 25, 3), complex)),
        "'bad': keypoint is not an array of numbers",
    ),
    'list': (sequence('bad', keypoint=[[1.0, 2.0]]), "'keypoint' of 'bad' has shape None"),
    'no keypoint': (dict(frame_dir='bad', label=0), "'keypoint' of 'bad' has shape None"),
    'other joints': (sequence('bad', keypoint=np.ones((1, 6, 17, 3))), "'bad' has 17 joints"),
    'two coordinates': (
        sequence('bad', keypoint=np.ones((1, 6, 25, 2))),
        "'bad': has 2 coordinates; layout .* has 3",
    ),
    'label a fraction': (
        sequence('bad', label=0.5),
        "'bad': label is 0.5; it must be an integer",
    ),
    'label a name': (
        sequence('bad', label='walk'),
        "'bad': label is 'walk'; it must be an integer",
    ),
    'label a bool': (
        sequence('bad', label=True),
        "'bad': label is True; it must be an integer",
    ),
    'name twice': (sequence('a'), "'a' is the name of several sequences"),
    'name a number': (sequence(7), "a sequence has the name '7'; it must be text"),
    'name too long': (
        sequence('x' * 5000),
        'a sequence has the name .*; it must be text of at most 1000 characters',
    ),
    'no name': (dict(keypoint=np.ones((1, 6, 25, 3))), "has no 'frame_dir'"),
    'no dict': ([1, 2], 'an annotation is a list, not a dict'),
}


@pytest.mark.parametrize(
    'kind, cache', [*((kind, False) for kind in UNUSABLE), ('nan', True), ('no dict', True)]
)
def test_unusable_sequences_are_refused_or_dropped(load, kind, cache):
    broken, message = UNUSABLE[kind]
    with pytest.raises(
        ValueError, match=f"data.pkl': 1 of 3 sequences cannot be used: .*{message}.*invalid='drop'"
    ):
        load([sequence('a'), broken, sequence('b')], cache)
    dataset, said = load([sequence('a'), broken, sequence('b')], cache, invalid='drop')
    assert (
        names(dataset) == 'ab'
        and len(said) == 1
        and said[0].startswith('1 of 3 sequences are left out: ')
    )


@CACHES
def test_what_is_said_of_many_is_short(load, cache):
    holes = [dict(with_hole(np.nan), frame_dir=f'bad{i}') for i in range(50)]
    with pytest.raises(ValueError, match='50 of 51 sequences cannot be used') as error:
        load([sequence('a'), *holes], cache)
    assert (
        len(str(error.value)) < 500
        and 'bad2' in str(error.value)
        and 'bad3' not in str(error.value)
    )
    one_frame = [sequence(f's{i}', frames=1) for i in range(50)]
    assert load(one_frame, cache)[1] == [
        '50 of 50 sequences have one frame: s0, s1, s2 and 47 more'
    ]


@CACHES
@pytest.mark.parametrize('invalid', ['refuse', 'drop'])
def test_nothing_usable(load, cache, invalid):
    with pytest.raises(ValueError, match='1 of 1 sequences cannot be used: .*not finite$'):
        load([with_hole(np.nan)], cache, invalid=invalid)


def test_unknown_way_with_what_is_invalid(load):
    with pytest.raises(ValueError, match="invalid='zero'; known are 'refuse' and 'drop'"):
        load([sequence('a')], invalid='zero')


def pose(**changes) -> np.ndarray:
    """Keypoints (2, 6, 25, 3) with some of it replaced."""
    keypoint = RNG.normal(size=(2, 6, 25, 3)).astype(np.float32)
    for place, value in changes.items():
        keypoint[
            dict(first=np.s_[0], second=np.s_[1], joints=np.s_[:, :, [4, 9]], all=np.s_[:])[place]
        ] = value
    return keypoint


ODD = {
    'one frame': (sequence('x', frames=1), 'have one frame'),
    'zeros': (sequence('x', keypoint=pose(all=0)), 'hold only zeros'),
    'constant': (sequence('x', keypoint=np.repeat(pose()[:, :1], 6, 1)), 'do not move'),
    'missing joints': (sequence('x', keypoint=pose(joints=0)), 'have joints that are always zero'),
    'empty first person': (
        sequence('x', keypoint=pose(first=0)),
        'have an absent first person (zeros) but a present one after it',
    ),
    'too many frames stated': (
        sequence('x', total_frames=99),
        'had a total_frames that is not the number of their frames; it was corrected',
    ),
    'no number of frames': (
        sequence('x', total_frames=None),
        'had a total_frames that is not the number of their frames; it was corrected',
    ),
}


@CACHES
@pytest.mark.parametrize('kind', ODD)
def test_odd_sequences_are_kept_and_counted(load, kind, cache):
    odd, sentence = ODD[kind]
    for _ in range(2):  # the second time from the cache
        dataset, said = load([sequence('a'), odd], cache)
        assert said == [f'1 of 2 sequences {sentence}: x'] and names(dataset) == 'ax'
    sample = dataset[1]
    assert sample['keypoint'].shape == (1, 2, 16, 25, 3) and np.isfinite(sample['keypoint']).all()


@CACHES
@pytest.mark.parametrize(
    'good',
    [
        sequence('x', people=2, keypoint=pose(second=0)),
        sequence('x', label=None),
        sequence('x', keypoint=np.arange(450).reshape(1, 6, 25, 3)),
        {k: v for k, v in sequence('x').items() if k != 'total_frames'},
    ],
    ids=['empty second person', 'no label', 'whole numbers', 'no total_frames'],
)
def test_what_is_no_hole(load, good, cache):
    dataset, said = load([sequence('a'), good], cache)
    assert not said and len(dataset) == 2 and 'label' not in dataset[1] or dataset[1]['label'] == 0


@CACHES
def test_labels_out_of_range(load, cache):
    annotations = [sequence('a', 2), sequence('b', 3), sequence('c', -1)]
    with pytest.raises(
        ValueError, match=r"sequence 'b' has the label 3, but the config has 3 classes .*\(2 of 3 "
    ):
        load(annotations, cache, num_classes=3)


@CACHES
def test_names_do_not_reach_the_terminal_as_they_are(load, cache):
    odd = [sequence(f'\x1b]0;evil\x07\n{i}' + 'x' * 900, frames=1) for i in range(9)]
    (said,) = load(odd, cache)[1]
    assert said.isprintable() and '\\x1b]0;evil\\x07\\n0x' in said and len(said) < 400


@CACHES
@pytest.mark.parametrize(
    'layout, message',
    [
        (5, 'unknown layout 5'),
        (['x'], 'unknown layout'),
        ('nope', 'unknown layout'),
        ({1: 2}, 'cannot be made'),
        ('layout.yaml', "unknown layout 'layout.yaml'"),
        (dict(joints=5, parents=[], center='x'), 'cannot be made'),
        (dict(name='q', joints=[['a']], parents=[['a']], center=['a']), 'cannot be made'),
    ],
)
def test_layout_that_a_file_states(tmp_path, monkeypatch, layout, message, cache):
    """A file may state a known name or fields, but not a path, which would be read."""
    (tmp_path / 'layout.yaml').write_text('not: read')
    monkeypatch.chdir(tmp_path)
    write_pickle(dict(annotations=[sequence('a')], metainfo=dict(layout=layout)), 'data.pkl')
    with pytest.raises(ValueError, match=message):
        SkeletonDataset('data.pkl', [], None, 'ntu25', PREPROCESS, cache)


@CACHES
def test_splits_with_holes(load, cache):
    annotations = [sequence(name) for name in 'abc']
    split = dict(train=['a', 'b', 'a', 'lost'], val=['b', 'c'], nobody=['lost'], empty=[])
    dataset, said = load(annotations, cache, split, ['train', 'val'])
    assert names(dataset) == 'abbc' and said == [
        "split 'train' names 1 sequences that do not exist: lost",
        "split 'train' names 1 sequences more than once; they count once: a",
        "1 sequences are in both 'train' and 'val', so an evaluation includes sequences "
        'seen in training: b',
    ]
    assert load(annotations, cache, split, ['val', 'val'])[1] == []
    for chosen in ('nobody', 'empty'):
        with pytest.raises(ValueError, match=f"split '{chosen}' holds no sequences"):
            load(annotations, cache, split, chosen)


def table(keypoint: np.ndarray) -> str:
    """Return frames as lines of numbers."""
    return (
        '\n'.join(','.join(map(str, frame)) for frame in keypoint[0].reshape(keypoint.shape[1], -1))
        + '\n'
    )


def test_prepared_data_are_counted(tmp_path):
    clips = dict(
        good=pose(),
        still=np.repeat(pose()[:, :1], 6, 1),
        short=pose()[:, :1],
        zeros=pose(all=0),
        nan=pose(joints=np.inf),
        huge=pose(joints=1e9),
    )
    rows = ['path,label,split']
    for name, keypoint in clips.items():
        (tmp_path / f'{name}.csv').write_text(table(keypoint))
        rows.append(f'{name}.csv,walk,{"train;val" if name == "good" else "train"}')
    (tmp_path / 'm.csv').write_text('\n'.join([*rows, 'gone.csv,walk,val']))
    reader = READERS['custom'](list_files([str(tmp_path / 'm.csv')]))
    summary = prepare(reader, str(tmp_path / 'out.pkl'), workers=1)
    assert {a['frame_dir'] for a in read_pickle(str(tmp_path / 'out.pkl'))['annotations']} == {
        'good',
        'still',
        'short',
        'zeros',
    }
    assert summary.warnings == {
        'do not move': ['still'],
        'have one frame': ['short'],
        'hold only zeros': ['zeros'],
    }
    text = ' '.join(str(summary).split())
    for part in (
        'sequences 4',
        'warning (1) do not move: still',
        'warning (1) hold only zeros: zeros',
        'skipped (3)',
        "warning 1 sequences are in both 'train' and 'val'",
        'gone.csv',
        'keypoint holds 1e+09; coordinates must not exceed 1000000',
    ):
        assert part in text, text
    (nan,) = (problem for problem in summary.problems if 'nan.csv' in problem)
    assert 'a coordinate of frame' in nan and 'is not finite' in nan


@pytest.mark.parametrize(
    'kind', sorted(set(UNUSABLE) - {'other joints', 'two coordinates', 'name too long'})
)
def test_look_at_a_pickle_lists_defects(tmp_path, kind):
    write_pickle([sequence('a'), UNUSABLE[kind][0], sequence('b')], str(tmp_path / 'data.pkl'))
    assert len(verify(str(tmp_path / 'data.pkl')).problems) == 1


def test_look_at_a_pickle_prints_no_control_characters(tmp_path):
    hostile = '\x1b[2J\r'
    annotations = [sequence(hostile), sequence('b' + hostile, label=-1)]
    write_pickle(
        dict(annotations=annotations, split={hostile: ['c' + hostile]}), str(tmp_path / 'data.pkl')
    )
    assert str(verify(str(tmp_path / 'data.pkl'))).replace('\n', '').isprintable()


def test_look_at_a_pickle_counts_what_is_odd(tmp_path):
    write_pickle(
        dict(
            annotations=[sequence('a'), ODD['zeros'][0]],
            split=dict(xsub_train=['a', 'x'], xsub_val=['x']),
        ),
        str(tmp_path / 'data.pkl'),
    )
    summary = verify(str(tmp_path / 'data.pkl'))
    assert summary.warnings == {'hold only zeros': ['x']}
    assert summary.problems == [
        "1 sequences are in both 'xsub_train' and 'xsub_val', so an evaluation includes sequences "
        'seen in training: x'
    ]


NORMAL = [dict(type='TemporalCrop'), dict(type='Shear')]
EXTREME = NORMAL + [
    dict(type=name)
    for name in (
        'SpatialFlip',
        'Rotate',
        'GaussianNoise',
        'GaussianBlur',
        'AxisMask',
        'TemporalFlip',
    )
]
UGLY = [odd for odd, _ in ODD.values()] + [
    sequence('loud', keypoint=pose(joints=1e6)),
    sequence('large', keypoint=pose(all=-1e6)),
    sequence('tiny', keypoint=1e-30 * pose()),
    sequence('fine'),
]


def model(stream: str, **options):
    """AimCLR with all of the extreme set and a tiny encoder."""
    cfg = dict(
        type='AimCLR',
        backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=8, tcn_dropout=0.5),
        head=dict(type='ProjectionHead', in_channels=8, hidden_channels=8, out_channels=6),
        queue_length=32,
        temperature=0.07,
        momentum=0.9,
        data_preprocessor=dict(
            type='SkeletonViews', stream=stream, query=NORMAL, key=NORMAL, extreme=EXTREME
        ),
        **dict(dict(eadm=dict(type='EADM')), **options),
    )
    built = MODELS.build(cfg)
    built.init_weights()
    return built.train()


def train(net, annotations: list, load, steps: int = 4, amp: bool = False) -> list[float]:
    """Losses of some steps on one batch of the dataset; the second half of them mines."""
    dataset, _ = load([dict(copy.deepcopy(a), frame_dir=str(i)) for i, a in enumerate(annotations)])
    batch = dict(inputs=[torch.from_numpy(dataset[i]['keypoint']) for i in range(len(dataset))])
    optimizer, values = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), []
    for step in range(steps):
        net.mining = step >= steps // 2
        net.update_key_encoder()
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            result = net(**net.data_preprocessor(dict(batch), training=True), mode='loss')
        loss = sum(value for name, value in result.items() if 'loss' in name)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
        values.append(loss.item())
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values())
    assert all(p.abs().max() < 1e4 for p in net.parameters())  # no step of an absurd length
    return values


@pytest.mark.parametrize('amp', [False, True], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('stream', ['joint', 'bone', 'motion'])
def test_training_on_the_ugliest_data(load, stream, amp):
    assert np.isfinite(train(model(stream), UGLY, load, amp=amp)).all()


@pytest.mark.parametrize('kind', ODD)
def test_training_on_nothing_but_one_kind(load, kind):
    assert np.isfinite(
        train(model('motion', mining_reduction='mean'), [ODD[kind][0]] * 4, load)
    ).all()


@pytest.mark.parametrize('margin', [0, 0.5, 0.6225, 1, math.inf])
def test_training_when_eadm_drops_all_or_nothing(load, margin):
    net = model(
        'joint', eadm=dict(type='EADM', keep_margin=margin), init='released'
    )  # biases are zero
    assert np.isfinite(train(net, UGLY, load)).all()
