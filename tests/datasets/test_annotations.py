"""Annotation files: their structure, and pickles that are hostile, damaged or of another NumPy."""

import os
import pickle
import random

import numpy as np
import pytest

from aimclr_mm.datasets import SkeletonDataset, load_annotations, write_pickle
from aimclr_mm.datasets.annotations import map_annotation, read_pickle, stated_layout
from aimclr_mm.skeletons import get_layout, map_layout
from tests.canary import Payload

from .helpers import annotation


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
    """Yield small annotation files with changed, missing or entirely random bytes."""
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


@pytest.mark.parametrize('source, target', [('coco17', 'halpe26'), ('halpe26', 'mediapipe33_2d')])
def test_annotation_is_mapped_with_its_scores(source, target):
    source, target = get_layout(source), get_layout(target)
    x = np.random.default_rng(0).uniform(0.1, 1, (2, 5, source.num_joints, 3)).astype(np.float32)
    given = dict(frame_dir='a', keypoint=x[..., :2], keypoint_score=x[..., 2], label=3)
    mapped = map_annotation(given, source, target)
    expected = map_layout(x, source, target)
    np.testing.assert_array_equal(mapped['keypoint'], expected[..., :2])
    np.testing.assert_array_equal(mapped['keypoint_score'], expected[..., 2])
    assert mapped['label'] == 3 and given['keypoint'].shape[2] == source.num_joints


def test_depth_is_not_taken_for_a_score():
    given = dict(keypoint=np.ones((1, 2, 33, 3)))
    with pytest.raises(ValueError, match="'mediapipe33' has 3 coordinates.*mediapipe33_2d"):
        map_annotation(given, get_layout('mediapipe33'), get_layout('coco17'))


def test_layout_that_a_file_states():
    assert stated_layout({}, 'a.pkl') is None
    assert stated_layout(dict(layout='azure32'), 'a.pkl') is get_layout('azure32')
    with pytest.raises(ValueError, match="'a.pkl' has an unknown layout '/x.yaml'"):
        stated_layout(dict(layout='/x.yaml'), 'a.pkl')
