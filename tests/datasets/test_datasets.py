"""Annotation files and the data set: what is read, what is refused and how it is said."""

import os
import pickle
import random
import resource
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets import SkeletonDataset, load_annotations, write_pickle
from aimclr_mm.datasets.annotations import read_pickle

PACK = [
    dict(type='mmaction.FormatGCNInput', num_person=2),
    dict(type='mmaction.PackActionInputs', meta_keys=('frame_dir', 'split', 'role')),
]


def annotation(
    name: str,
    label: int | None = 0,
    people: int = 1,
    frames: int = 4,
    joints: int = 25,
    dims: int = 3,
):
    """One sequence whose coordinates are random."""
    keypoint = (
        np.random.default_rng(0).normal(size=(people, frames, joints, dims)).astype(np.float32)
    )
    result = dict(frame_dir=name, keypoint=keypoint, total_frames=frames)
    return result if label is None else dict(result, label=label)


def content() -> dict:
    """Four sequences in two splits, and a split that is empty."""
    return dict(
        split=dict(train=['a', 'b'], val=['c'], nobody=[]),
        annotations=[annotation(name, label) for label, name in enumerate('abcd')],
    )


@pytest.fixture
def write(tmp_path):
    """Writes annotations and returns the path."""

    def writer(data, name='data.pkl') -> str:
        write_pickle(data, str(tmp_path / name))
        return str(tmp_path / name)

    return writer


def names(dataset: SkeletonDataset) -> list[tuple[str, str, str]]:
    """Name, split and role of every sequence."""
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return [(info['frame_dir'], info['split'], info['role']) for info in infos]


# the data set


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


@pytest.mark.parametrize(
    'data, message',
    [
        (3, "list 'annotations'"),
        ({}, "list 'annotations'"),
        (dict(annotations={}), "list 'annotations'"),
        (dict(annotations=[], split=['a']), "'split' must map"),
        (['a'], 'is a str, not a dict'),
    ],
)
def test_files_of_another_structure(write, data, message):
    with pytest.raises(ValueError, match=message):
        SkeletonDataset(write(data), [])


# pickles


class Payload:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('kind', ['system', 'eval', 'exec', 'open', 'getattr'])
def test_pickled_calls_do_not_run(tmp_path, kind, protocol):
    mark, path = tmp_path / 'mark', tmp_path / 'evil.pkl'
    call = dict(
        system=(os.system, f'touch {mark}'),
        eval=(eval, f"open('{mark}', 'w')"),
        exec=(exec, f"open('{mark}', 'w')"),
        open=(open, str(mark), 'w'),
        getattr=(getattr, dict, 'fromkeys'),
    )
    evil = pickle.dumps(
        dict(split={}, annotations=[annotation('a'), Payload(*call[kind])]), protocol
    )
    path.write_bytes(evil)
    with pytest.raises(ValueError, match='it refers to'):
        load_annotations(str(path))
    assert not mark.exists()
    if kind != 'getattr':
        pickle.loads(evil)  # the payload is a real one
        assert mark.exists()


def test_dotted_names_do_not_get_around_the_list(tmp_path):
    path = tmp_path / 'evil.pkl'
    path.write_bytes(b'\x80\x04\x8c\x08builtins\x8c\x0edict.__class__\x93.')
    with pytest.raises(ValueError, match='it refers to builtins.dict.__class__'):
        read_pickle(str(path))


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize(
    'dtype', ['float16', 'float32', 'float64', 'int64', 'uint8', 'bool', '>f4']
)
def test_arrays_of_every_protocol(tmp_path, protocol, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    data = dict(
        c=array,
        fortran=np.asfortranarray(array),
        strided=array[:, ::2],
        scalar=array[1, 1, 1],
        empty=array[:0],
        plain=(1, 2.5, True, None, 'x', b'y', [set('z')]),
    )
    path = tmp_path / 'data.pkl'
    path.write_bytes(pickle.dumps(data, protocol))
    read = read_pickle(str(path))
    for name in ('c', 'fortran', 'strided', 'scalar', 'empty'):
        assert read[name].dtype.newbyteorder('=') == data[name].dtype.newbyteorder('=')
        assert np.array_equal(read[name], data[name]) and type(read[name]) is type(data[name])
    assert read['plain'] == data['plain']


@pytest.mark.filterwarnings('ignore:.*numpy.core.*:DeprecationWarning')
@pytest.mark.parametrize('package', [b'numpy.core', b'numpy._core'])
def test_arrays_written_by_older_and_newer_numpy(tmp_path, package):
    data, path = dict(a=np.arange(3.0), b=np.float32(2)), tmp_path / 'data.pkl'
    text = (
        pickle.dumps(data, 2).replace(b'numpy._core', b'numpy.core').replace(b'numpy.core', package)
    )
    assert package + b'.multiarray' in text
    path.write_bytes(text)
    assert read_pickle(str(path))['a'].tolist() == [0, 1, 2] and read_pickle(str(path))['b'] == 2


def damaged(count: int, seed: int = 0):
    """Small annotation files of which bytes were changed, cut off, or drawn altogether."""
    rng = random.Random(seed)
    data = dict(
        split=dict(a=['x', 'y']),
        annotations=[annotation('x', 1, 1, 2, 2), annotation('y', 2, 1, 1, 2, 2)],
    )
    data['annotations'][1].update(label=np.int64(2), keypoint=np.ones((1, 1, 2, 2), np.float16))
    for _ in range(count):
        text = bytearray(pickle.dumps(data, rng.choice((2, 4, 5))))
        kind = rng.random()
        if kind < 0.2:
            text = text[: rng.randrange(len(text))]
        elif kind < 0.3:
            text = rng.randbytes(rng.randrange(200))
        else:
            for _ in range(rng.choice((1, 1, 2, 5))):
                text[rng.randrange(len(text))] = rng.randrange(256)
        yield bytes(text)


@pytest.fixture
def little_memory():
    """At most 2 GiB more than now: a damaged length must not take the machine's memory."""
    pages = (
        int(Path('/proc/self/statm').read_text().split()[0])
        if os.path.exists('/proc/self/statm')
        else None
    )
    before = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(
            resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), before[1])
        )
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_damaged_pickles_raise_value_error_or_load(tmp_path, little_memory):
    path, refused = tmp_path / 'damaged.pkl', 0
    for text in damaged(600):
        path.write_bytes(text)
        try:
            read_pickle(str(path))
        except ValueError as error:
            assert 'damaged.pkl' in str(error)
            refused += 1
    assert 200 < refused < 600


@pytest.mark.parametrize(
    'text', [b'', b'hello world\n', b'\x80\x04', b'\x80\x63.', b'}' * 9, b'\x80\x04K\x01']
)
def test_what_is_no_pickle(tmp_path, text):
    (tmp_path / 'no.pkl').write_bytes(text)
    with pytest.raises(ValueError, match='no.pkl'):
        load_annotations(str(tmp_path / 'no.pkl'))


def test_unknown_encoding_is_a_value_error(tmp_path):
    text = pickle.dumps(np.arange(3.0), 2)
    assert b'latin1' in text
    (tmp_path / 'odd.pkl').write_bytes(text.replace(b'latin1', b'latim1'))
    with pytest.raises(ValueError, match='odd.pkl'):
        read_pickle(str(tmp_path / 'odd.pkl'))


def test_write_pickle_writes_all_or_nothing(tmp_path):
    path = tmp_path / 'new' / 'folder' / 'data.pkl'
    write_pickle([1, 2], str(path))
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        write_pickle([np.zeros(10**5), lambda: 0], str(path))
    assert [file.name for file in path.parent.iterdir()] == ['data.pkl']
    assert read_pickle(str(path)) == [1, 2]


def test_write_pickle_into_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pickle({}, 'data.pkl')
    assert os.listdir() == ['data.pkl']
