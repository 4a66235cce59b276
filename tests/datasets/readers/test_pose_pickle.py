"""Pickles in the formats of mmaction2 and PYSKL: counts, reported defects, refused files."""

import pickle
import re
import sys

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import write_pickle
from aimclr_mm.datasets.readers.pose_pickle import published_counts, verify


def pose(name: str, label=0, people: int = 1, frames: int = 4, joints: int = 25, **fields) -> dict:
    """Return a sequence like gen_ntu_rgbd_raw.py (mmaction2) and ntu_preproc.py (PYSKL)."""
    keypoint = np.random.default_rng(0).normal(size=(people, frames, joints, 3)).astype(np.float16)
    return dict(dict(frame_dir=name, label=label, keypoint=keypoint, total_frames=frames), **fields)


def pose_2d(name: str, people: int = 2, frames: int = 3, **fields) -> dict:
    """Return a sequence like those of ntu60_2d.pkl and ntu60_hrnet.pkl."""
    keypoint, score = (np.full((people, frames, 17, *rest), 0.5, np.float16) for rest in ((2,), ()))
    return dict(
        dict(
            frame_dir=name,
            label=3,
            keypoint=keypoint,
            keypoint_score=score,
            total_frames=frames,
            img_shape=(1080, 1920),
            original_shape=(1080, 1920),
        ),
        **fields,
    )


@pytest.fixture
def check(tmp_path):
    """Write a pickle and verify it."""

    def checker(content, **options):
        write_pickle(content, str(tmp_path / 'poses.pkl'))
        return verify(str(tmp_path / 'poses.pkl'), **options)

    return checker


def test_sound_file_is_counted(check):
    annotations = [
        pose('a', 0),
        pose('b', np.int64(7), people=2, frames=np.int64(9)),
        pose('c', 0),
        pose('d', None),
    ]
    split = dict(xsub_train=['a', 'b'], xsub_val=['c', 'd'])
    summary = check(dict(split=split, annotations=annotations), layout='ntu25')
    assert summary.problems == [] and summary.sequences == 4
    assert dict(summary.labels) == {0: 2, 7: 1, None: 1} and dict(summary.people) == {1: 3, 2: 1}
    assert summary.splits == dict(xsub_train=2, xsub_val=2) and summary.frames == [4, 9, 4, 4]
    assert (
        dict(summary.shapes) == {(25, 3, False): 4}
        and summary.published == {}
        and summary.num_classes is None
    )


def test_two_coordinates_with_scores(check):
    annotations = [pose_2d('a'), pose_2d('b', img_shape=[np.int64(340), 256], filename='b.mp4')]
    summary = check(dict(split=dict(train=['b', 'a']), annotations=annotations), layout='coco17')
    assert (
        summary.problems == []
        and dict(summary.shapes) == {(17, 2, True): 2}
        and dict(summary.people) == {2: 2}
    )


def test_list_of_annotations(check):
    named = pose('a')
    named['filename'] = named.pop('frame_dir')
    summary = check([named, pose('b')])
    assert summary.problems == [] and summary.splits == {} and summary.sequences == 2


@pytest.mark.parametrize(
    'classes, benchmarks, train, val',
    [(60, ('xsub', 'xview'), 37646, 18932), (120, ('xsub', 'xset'), 54468, 59477)],
)
def test_published_numbers_of_ntu(check, classes, benchmarks, train, val):
    annotations = [pose(f'{label}', label, frames=1, joints=2) for label in range(classes)]
    split = {f'{name}_{part}': ['0', '1'] for name in benchmarks for part in ('train', 'val')}
    summary = check(dict(split=split, annotations=annotations))
    assert summary.num_classes == classes and summary.splits == dict.fromkeys(split, 2)
    assert (
        summary.published[f'{benchmarks[1]}_train'] == train
        and summary.published[f'{benchmarks[1]}_val'] == val
    )
    assert f'split {benchmarks[1]}_val' in str(summary) and f'2; published: {val}' in str(summary)


def test_published_numbers_need_the_classes_and_the_splits():
    assert published_counts(60, ['xsub_val']) == dict(xsub_val=16487)
    assert published_counts(120, ['xsub_val']) == dict(xsub_val=50919)
    for classes, split in ((59, 'xsub_val'), (60, 'xset_val'), (120, 'xview_val'), (60, 'test1')):
        assert published_counts(classes, [split]) == {}


@pytest.mark.parametrize(
    'fields, problem',
    [
        (dict(keypoint=np.ones((1, 4, 25))), r"'keypoint' of 'x' has shape \(1, 4, 25\)"),
        (dict(keypoint=np.ones((1, 0, 25, 3))), r"'keypoint' of 'x' has shape \(1, 0, 25, 3\)"),
        (dict(keypoint=np.ones((1, 4, 25, 4))), r"'keypoint' of 'x' has shape"),
        (dict(keypoint=[[1, 2], [3]]), "'keypoint' of 'x' has shape None"),
        (dict(keypoint=None), "'keypoint' of 'x' has shape None"),
        (dict(keypoint=np.full((1, 4, 25, 3), 'a')), 'keypoint is not an array of numbers'),
        (
            dict(keypoint=np.full((1, 4, 25, 3), np.inf, np.float16)),
            'keypoint holds 300 values that are not finite',
        ),
        (dict(keypoint=np.ones((1, 4, 17, 3))), 'has 17 joints; most have 25'),
        (
            dict(keypoint_score=np.ones((1, 4, 24))),
            r'keypoint_score has shape \(1, 4, 24\); it must be \(1, 4, 25\)',
        ),
        (dict(keypoint_score=[1, [2]]), 'keypoint_score is not an array of numbers'),
        (
            dict(keypoint_score=np.full((1, 4, 25), np.nan)),
            'keypoint_score holds 100 values that are not finite',
        ),
        (dict(total_frames=5), 'total_frames is 5, but keypoint has 4 frames'),
        (dict(total_frames=None), 'total_frames is None'),
        (dict(total_frames=4.0), 'total_frames is 4.0'),
        (dict(label=-1), 'label is -1; it must be an integer of at least 0'),
        (dict(label=1.5), 'label is 1.5'),
        (dict(label=[1, 2]), r'label is \[1, 2\]'),
        (dict(label=True), 'label is True'),
        (dict(label='3'), "label is '3'"),
        (dict(subject=[1]), r'subject is \[1\]'),
    ],
)
def test_defect_of_a_sequence(check, fields, problem):
    summary = check([pose('a'), pose('b'), pose('x', **fields)])
    (line,) = summary.problems
    assert line.startswith('x: ') and '\n' not in line and summary.sequences == 2
    assert re.search(problem, line)


@pytest.mark.parametrize('size', [(1080,), (1080, 0), (1080.0, 1920), 'hd', (True, 3)])
def test_size_of_the_image(check, size):
    summary = check([pose_2d('a'), pose_2d('x', img_shape=size)])
    assert summary.problems == [
        f'x: img_shape is {size!r}; it must be the height and the width of the image'
    ]


def test_sequences_without_size_of_the_image_are_counted(check):
    """What prepare_data folders writes of poses without a size is no defect."""
    without = pose_2d('x')
    del without['img_shape']
    summary = check([pose_2d('a'), without])
    assert not summary.problems
    assert [names for text, names in summary.warnings.items() if 'img_shape' in text] == [['x']]


@pytest.mark.parametrize(
    'annotation, line',
    [
        (None, "annotation 1: 'poses.pkl': an annotation is a NoneType, not a dict"),
        (
            dict(pose(''), frame_dir=None),
            "annotation 1: 'poses.pkl': an annotation has no 'frame_dir' (its name)",
        ),
        (pose(['b']), "annotation 1: its name is ['b']; it must be text"),
        (pose(7), 'annotation 1: its name is 7; it must be text'),
    ],
)
def test_annotation_without_a_usable_name(check, annotation, line):
    assert check([pose('a'), annotation]).problems == [line]


def test_layout_must_be_that_of_the_data(check):
    summary = check([pose('a'), pose('b')], layout='coco17')
    assert summary.sequences == 0 and len(summary.problems) == 2 and 'sequences' in str(summary)
    assert (
        'a: ' in summary.problems[0]
        and 'has 25 joints, but the layout of the config has 17' in summary.problems[0]
    )
    flat = [pose('a', keypoint=np.ones((1, 4, 25, 2)), img_shape=(9, 9))]
    assert check(flat, layout='ntu25').problems == ["a: has 2 coordinates; layout 'ntu25' has 3"]


def test_names_and_splits_must_agree(check):
    annotations = [pose('a'), pose('b'), pose('b'), pose('c')]
    split = dict(train=['a', 'b', 'a', 'lost'], val=['lost too'])
    summary = check(dict(split=split, annotations=annotations))
    assert summary.problems == [
        'b: 2 annotations have this name',
        'lost: is in split train but has no annotation',
        'a: is 2 times in split train',
        'lost too: is in split val but has no annotation',
        'c: is in no split',
    ]
    assert summary.splits == dict(train=2, val=0)


# files that are refused as a whole


@pytest.mark.parametrize('names', ['abc', [1], None, 3, [['a']]])
def test_split_that_is_no_list_of_names(check, names):
    with pytest.raises(
        ValueError, match="poses.pkl': split 'wrong' is not a list of sequence names"
    ):
        check(dict(split=dict(train=['a'], wrong=names), annotations=[pose('a')]))


CONTENTS = dict(
    frame_dir='v1', label=0, total_frames=9, valid={0.5: 8}, box_score=np.ones(9, np.float16)
)


@pytest.mark.parametrize(
    'annotation, message',
    [
        (CONTENTS, "table of contents: the keypoints of 'v1' are in another file"),
        (dict(CONTENTS, raw_file='kp/1.pkl', frame_inds=np.arange(9)), 'table of contents'),
        (
            dict(
                frame_dir='v1',
                keypoint=np.ones((9, 17, 3)),
                frame_inds=np.arange(9),
                total_frames=9,
            ),
            'DecompressPose',
        ),
    ],
)
def test_files_of_kinetics(check, annotation, message):
    with pytest.raises(ValueError, match=message):
        check(dict(split=dict(train=['v1']), annotations=[annotation]))


@pytest.mark.parametrize(
    'content', [[], dict(annotations=[]), dict(split={}), 5, dict(annotations=[], split=3)]
)
def test_files_without_annotations(check, content):
    with pytest.raises(ValueError, match='poses.pkl'):
        check(content)


def test_damaged_and_dangerous_files(tmp_path):
    path = tmp_path / 'poses.pkl'
    whole = pickle.dumps([pose('a')])
    dangerous, endless = pickle.dumps([sys.exit]), b'\x80\x04\x95' + b'\xff' * 8
    for content in (b'', b'\0' * 99, whole[:-30], b'S001\r\n25 ', dangerous, endless):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='readable annotation file'):
            verify(str(path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match='poses.pkl'):
        verify(str(path))
