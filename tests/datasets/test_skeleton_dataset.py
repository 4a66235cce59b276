"""SkeletonDataset: splits, roles, samples, and what it refuses."""

import numpy as np
import pytest
from mmengine.logging import MMLogger

from aimclr_mm.datasets import SkeletonDataset

from .helpers import annotation, content

PACK = [
    dict(type='mmaction.FormatGCNInput', num_person=2),
    dict(type='mmaction.PackActionInputs', meta_keys=('frame_dir', 'split', 'role')),
]


def names(dataset: SkeletonDataset) -> list[tuple[str, str, str]]:
    """Name, split and role of every sequence."""
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return [(info['frame_dir'], info['split'], info['role']) for info in infos]


def test_one_split(write):
    assert names(SkeletonDataset(write(content()), [], 'train')) == [
        ('a', 'train', 'gallery'),
        ('b', 'train', 'gallery'),
    ]


def test_pair_of_splits(write):
    dataset = SkeletonDataset(write(content()), [], ['train', 'val'])
    assert names(dataset) == [
        ('a', 'train', 'gallery'),
        ('b', 'train', 'gallery'),
        ('c', 'val', 'query'),
    ]


def test_a_sequence_may_be_gallery_and_query(write):
    dataset = SkeletonDataset(write(content()), [], ['val', 'val'])
    assert names(dataset) == [('c', 'val', 'gallery'), ('c', 'val', 'query')]


@pytest.mark.parametrize('data', [content(), content()['annotations']], ids=['dict', 'list'])
def test_all_sequences_of_both_forms_of_the_file(write, data):
    assert names(SkeletonDataset(write(data), [])) == [(name, 'all', 'gallery') for name in 'abcd']


def test_sequences_may_be_called_filename(write):
    data = content()
    for item in data['annotations']:
        item['filename'] = item.pop('frame_dir')
    dataset = SkeletonDataset(write(data), [], 'val')
    assert dataset.get_data_info(0)['filename'] == 'c'


def test_samples_carry_keypoints_label_and_role(write):
    data = content()
    packed = SkeletonDataset(write(data), PACK, ['train', 'val'])[2]
    assert packed['inputs'].shape == (1, 2, 4, 25, 3)
    assert np.array_equal(packed['inputs'][0, 0], data['annotations'][2]['keypoint'][0])
    assert not packed['inputs'][0, 1].any()
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [2] and (sample.frame_dir, sample.split, sample.role) == (
        'c',
        'val',
        'query',
    )


def test_labels_are_optional(write):
    dataset = SkeletonDataset(write([annotation('a', None)]), PACK)
    assert 'gt_label' not in dataset[0]['data_samples']


@pytest.mark.parametrize('split', [(), ('train', 'val', 'nobody')])
def test_neither_no_split_nor_three(write, split):
    with pytest.raises(ValueError, match='pair'):
        SkeletonDataset(write(content()), [], split)


def test_unknown_split_lists_the_splits(write):
    with pytest.raises(ValueError, match=r"no split 'xsub'; it has \['nobody', 'train', 'val'\]"):
        SkeletonDataset(write(content()), [], 'xsub')


def test_empty_split(write):
    with pytest.raises(ValueError, match="'nobody' holds no sequences"):
        SkeletonDataset(write(content()), [], ['train', 'nobody'])


def test_missing_file_comes_with_the_hint(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.pkl' does not exist. Bake it first."):
        SkeletonDataset(str(tmp_path / 'gone.pkl'), [], hint='Bake it first.')


def test_other_number_of_joints_than_the_layout(write):
    with pytest.raises(ValueError, match="'a' has 25 joints, but the layout of the config has 20"):
        SkeletonDataset(write(content()), [], layout='kinect20')
    assert len(SkeletonDataset(write(content()), [], layout='ntu25')) == 4


@pytest.mark.parametrize(
    'keypoint, shape',
    [
        (None, 'None'),
        ([[1.0]], 'None'),
        (np.zeros((4, 25, 3)), r'\(4, 25, 3\)'),
        (np.zeros((1, 4, 25, 4)), r'\(1, 4, 25, 4\)'),
        (np.zeros((1, 0, 25, 3)), r'\(1, 0, 25, 3\)'),
        (np.zeros((0, 4, 25, 3)), r'\(0, 4, 25, 3\)'),
    ],
)
def test_keypoints_of_a_wrong_shape(write, keypoint, shape):
    data = content()
    data['annotations'][1]['keypoint'] = keypoint
    with pytest.raises(ValueError, match=f"'keypoint' of 'b' has shape {shape}"):
        SkeletonDataset(write(data), [], 'train')


def test_missing_keypoint_in_another_split_does_no_harm(write):
    data = content()
    del data['annotations'][2]['keypoint']
    assert len(SkeletonDataset(write(data), [], 'train')) == 2
    with pytest.raises(ValueError, match="'keypoint' of 'c' has shape None"):
        SkeletonDataset(write(data), [], 'val')


def test_sequence_without_a_name(write):
    data = content()
    del data['annotations'][0]['frame_dir']
    with pytest.raises(ValueError, match="no 'frame_dir'"):
        SkeletonDataset(write(data), [])


STEPS = [dict(type='ResizeClip', length=4), dict(type='mmaction.FormatGCNInput', num_person=1)]


@pytest.mark.parametrize('cache', [True, False])
def test_two_files_are_gallery_and_queries(write, cache):
    """As one file with two splits, also where names occur in both."""
    train = [annotation('a', 0), annotation('b', 1)]
    val = [annotation('a', 1, frames=9)]
    val[0]['keypoint'] += 5
    files = [write(train, 'train.pkl'), write(val, 'val.pkl')]
    dataset = SkeletonDataset(files, [], preprocess=STEPS, cache=cache)
    assert names(dataset) == [
        ('a', 'train', 'gallery'),
        ('b', 'train', 'gallery'),
        ('a', 'val', 'query'),
    ]
    for index, item in enumerate((*train, *val)):
        single = SkeletonDataset(write([item], f'{index}.pkl'), [], preprocess=STEPS, cache=cache)
        np.testing.assert_array_equal(dataset[index]['keypoint'], single[0]['keypoint'])


def test_two_files_that_do_not_fit(write):
    files = [write(dict(content(), metainfo=dict(classes=list('xy'))), 'a.pkl')]
    files.append(write(dict(content(), metainfo=dict(classes=list('xz'))), 'b.pkl'))
    with pytest.raises(ValueError, match=r"a.pkl' has the classes \['x', 'y'\] and .*b.pkl'"):
        SkeletonDataset(files, [])
    with pytest.raises(ValueError, match='None, or one split for each file'):
        SkeletonDataset(files, [], 'train')
    with pytest.raises(ValueError, match='has 3 files; give one, or two'):
        SkeletonDataset([*files, files[0]], [])


@pytest.mark.parametrize('cache', [True, False])
def test_frames_that_are_cut_are_said(write, cache, monkeypatch):
    file = write([annotation('a', 0, frames=5), annotation('b', 1, frames=4)], f'{cache}.pkl')

    lines: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', lines.append)
    for settings in (
        dict(max_frames=4),
        dict(max_frames=4, surplus='both'),
        dict(max_frames=5),
        dict(max_frames=None),
    ):
        steps = [dict(type='ResizeClip', length=4, **settings), STEPS[1]]
        SkeletonDataset(file, [], preprocess=steps, cache=cache)
    assert [line.partition('.pkl: ')[2] for line in lines] == [
        f'1 of 2 sequences have more than 4 frames; the {part} 4 are used, all with '
        'max_frames=None of ResizeClip: a'
        for part in ('first', 'middle')
    ]
