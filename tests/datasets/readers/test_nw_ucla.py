"""NW-UCLA: generated files in both forms against known values."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers.nw_ucla import (
    MAX_FRAME,
    MAX_JSON,
    NWUCLA,
    read_folder,
    read_frame,
    read_json,
)
from aimclr_mm.datasets.readers.sources import RecordingError, SourceFile, list_files
from tests.datasets.readers.on_disk import put

# a published frame in the form of the authors
PUBLIC = """60
-1.28173,0.389313,3.35539,2
-1.31799,0.467292,3.35571,2
-1.37781,0.863602,3.28662,2
-1.464,0.983077,3.16874,2
-1.34825,0.732381,3.15587,1
-1.37528,0.443887,3.14596,1
-1.51467,0.432556,3.37891,2
-1.52018,0.38395,3.4269,1
-1.22927,0.762531,3.37305,2
-1.31662,0.488039,3.23977,2
-1.37798,0.271541,3.29659,2
-1.36233,0.206601,3.32117,1
-1.30539,0.330782,3.38349,2
-1.37014,-0.196316,3.46889,2
-1.35937,-0.533079,3.47509,1
-1.36485,-0.60008,3.45439,1
-1.2419,0.345037,3.35064,2
-1.29558,-0.0525916,3.60391,2
-1.32793,-0.445877,3.48789,2
-1.37887,-0.528446,3.45204,2
"""
JOINTS = [[float(cell) for cell in line.split(',')[:3]] for line in PUBLIC.split('\n')[1:21]]


def sequence(frames: int) -> list:
    """Return frames of joints of numbers: frame + joint / 100 + coordinate / 1000."""
    frame, joint, coordinate = np.ogrid[:frames, :20, :3]
    return (frame + joint / 100 + coordinate / 1000).tolist()


def as_json(frames: int = 2, name: str = '', **fields) -> str:
    """Return a file of the JSON form."""
    return json.dumps(dict(file_name=name, skeletons=sequence(frames), label=1, **fields))


def changed(*place: int, value) -> str:
    """Return a file of the JSON form with another value at a place."""
    skeletons = target = sequence(2)
    for index in place[:-1]:
        target = target[index]
    target[place[-1]] = value
    return json.dumps(dict(skeletons=skeletons))


def person(number: int) -> str:
    """Return a person in the form of the authors whose coordinates are ``number`` + 0.5."""
    return '59\n' + f'{number}.5,{number}.5,{number}.5,2\n' * 20


def frame_files(folder: Path, *texts: str) -> tuple[SourceFile, ...]:
    """Write the frames of one folder."""
    files = {
        f'view_1/a01_s01_e00/frame_{i}_tc_9_skeletons.txt': text for i, text in enumerate(texts, 1)
    }
    return tuple(list_files([put(folder, files, 'folder')]))


FILES = {
    'all_sqe/a01_s01_e00_v01.json': as_json(3),
    'all_sqe/a08_s02_e03_v02.json': as_json(1),
    'all_sqe/a12_s10_e10_v03.json': as_json(5),
    'all_sqe/a07_s10_e10_v03.json': as_json(5),
    'all_sqe/a02_s09_e04_v02.json': as_json(2)[:200],
    'multiview_action/view_3/a11_s03_e02/fileList.txt': '1 2 99\n',
    'multiview_action/view_3/a11_s03_e02/frame_10_tc_200_skeletons.txt': person(3),
    'multiview_action/view_3/a11_s03_e02/frame_2_tc_100_skeletons.txt': PUBLIC.replace('\n', '\r\n')
    + person(4),
    'multiview_action/view_3/a11_s03_e02/frame_3_tc_120_skeletons.txt': '',
    'multiview_action/view_3/a11_s03_e02/frame_2_tc_100_rgb.jpg': 'picture',
    'multiview_action/view_1/a01_s01_e00/frame_1_tc_1_skeletons.txt': 'not read',
}


@pytest.mark.parametrize('form', ['zip', 'folder'])
def test_files(tmp_path, form):
    out = str(tmp_path / 'out' / 'nwucla.pkl')
    summary = prepare(
        NWUCLA(list_files([put(tmp_path, FILES, form)], NWUCLA.pattern)), out, workers=1
    )
    data = read_pickle(out)
    read = {item['frame_dir']: item for item in data['annotations']}
    keys = ('label', 'subject', 'camera', 'total_frames')
    assert {name: tuple(item[key] for key in keys) for name, item in read.items()} == {
        'a01_s01_e00_v01': (0, 1, 1, 3),
        'a08_s02_e03_v02': (6, 2, 2, 1),
        'a12_s10_e10_v03': (9, 10, 3, 5),
        'a11_s03_e02_v03': (8, 3, 3, 2),
    }
    assert {name: sorted(split) for name, split in data['split'].items()} == dict(
        xview_train=['a01_s01_e00_v01', 'a08_s02_e03_v02'],
        xview_val=['a11_s03_e02_v03', 'a12_s10_e10_v03'],
    )
    assert data['metainfo']['layout'] == 'kinect20'
    for item in read.values():
        assert (
            item['keypoint'].shape == (1, item['total_frames'], 20, 3)
            and item['keypoint'].dtype == np.float32
        )
    np.testing.assert_array_equal(read['a12_s10_e10_v03']['keypoint'][0], np.float32(sequence(5)))
    np.testing.assert_array_equal(read['a11_s03_e02_v03']['keypoint'][0, 0], np.float32(JOINTS))
    assert (read['a11_s03_e02_v03']['keypoint'][0, 1] == 3.5).all()
    assert list(summary.left_out.values()) == [['a01_s01_e00_v01']]
    problems = sorted(summary.problems)
    assert len(problems) == 2 and 'a02_s09_e04_v02.json: is not readable JSON' in problems[0]
    assert (
        'a07_s10_e10_v03.json: has action 7 in its name; nw_ucla has '
        '(1, 2, 3, 4, 5, 6, 8, 9, 11, 12)' in problems[1]
    )


def test_public_frame_is_a_standing_person():
    joints = read_frame(PUBLIC.encode())
    assert joints.dtype == np.float32 and np.array_equal(joints, np.float32(JOINTS))
    head, left_foot, right_foot, hip = (
        joints[3],
        joints[15],
        joints[19],
        joints[0],
    )  # of layout kinect20, in meters
    assert head[1] - hip[1] > 0.5 and hip[1] - max(left_foot[1], right_foot[1]) > 0.9


def test_frames_without_a_skeleton():
    assert read_frame(b'') is None and read_frame(b'\r\n') is None and read_frame(b'60\n') is None
    assert read_frame(b'\xef\xbb\xbf') is None


def test_other_spacing():
    for text in (
        PUBLIC.replace('\n', '\r\n'),
        PUBLIC.replace(',', ', '),
        PUBLIC.replace('\n', ' \n'),
        PUBLIC.rstrip('\n'),
        PUBLIC + '\n\n',
        PUBLIC.replace(',2\n', ',2,\n'),
        '\ufeff' + PUBLIC,
    ):
        assert np.array_equal(read_frame(text.encode()), np.float32(JOINTS))


@pytest.mark.parametrize(
    'text, message',
    [
        (
            PUBLIC.rsplit('\n', 2)[0],
            'line 20: the file ends after 19 of 20 joints of a person; it is truncated',
        ),
        (PUBLIC + person(1)[:30], r'line \d+: the file ends after \d of 20'),
        (PUBLIC.split('\n', 1)[1], 'line 1: more than one value where|line 1: the number above'),
        (PUBLIC + PUBLIC.split('\n', 1)[1], 'line 22: '),
        (PUBLIC.replace('0.271541', 'x'), 'line 12: a joint needs 4 finite numbers'),
        (PUBLIC.replace('0.271541', 'nan'), 'line 12: a joint'),
        (PUBLIC.replace('0.271541', '1e300'), 'line 12: a joint'),
        (PUBLIC.replace('0.271541', ''), 'line 12: a joint'),
        (PUBLIC.replace('0.271541,', ''), 'line 12: a joint'),
        (PUBLIC.replace('0.271541', '1,2'), 'line 12: more than 4 values'),
        (PUBLIC.replace(',', ' '), 'line 2: '),
        (PUBLIC.replace('60', '-1', 1), "line 1: the number above a person's"),
        (PUBLIC.replace('60', '10000000000', 1), 'line 1: the number'),
        (PUBLIC.replace('60', 'id', 1), 'line 1: the number'),
        ('\n' + PUBLIC, 'line 1: the number'),
        (PUBLIC + '\0', 'is not plain text'),
        (PUBLIC + '\xff', 'is not plain text'),
    ],
)
def test_broken_frame(tmp_path, text, message):
    with pytest.raises(RecordingError, match=message):
        read_frame(text.encode('latin1'))
    with pytest.raises(RecordingError, match=rf'frame_2_tc_9_skeletons.txt: ({message})'):
        read_folder(tuple(frame_files(tmp_path, PUBLIC, text.encode('latin1').decode('latin1'))))


def test_broken_folder(tmp_path):
    files = frame_files(tmp_path, '', '\n', '')
    with pytest.raises(RecordingError, match='has no skeleton in any of 3 frames'):
        read_folder(files)
    again = SourceFile(files[0].path, 'frame_1_tc_77_skeletons.txt', 0, 0)
    with pytest.raises(RecordingError, match='has frame 1 twice; two recordings'):
        read_folder((*files, again))
    for name in (
        'skeletons_skeletons.txt',
        'frame_-1_tc_5_skeletons.txt',
        f'frame_{"9" * 400}_tc_5_skeletons.txt',
    ):
        with pytest.raises(
            RecordingError, match=f'{name}: is not named like frame_1_tc_1234_skeletons.txt'
        ):
            read_folder((SourceFile(files[0].path, name, 0, 0),))
    with pytest.raises(RecordingError, match=f'the limit is {MAX_FRAME}'):
        read_folder((SourceFile(files[0].path, 'frame_1_tc_1_skeletons.txt', MAX_FRAME + 1, 0),))


def test_json_other_fields_do_not_matter():
    text = as_json(2, 'other', extra=[None, {'a': float('nan')}])
    assert np.array_equal(read_json(text.encode()), np.float32(sequence(2)))
    assert np.array_equal(read_json(('\ufeff' + text).encode()), np.float32(sequence(2)))
    assert np.array_equal(
        read_json(changed(0, 0, 0, value=7).encode())[0, 0], np.float32([7, 0.001, 0.002])
    )


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'not readable JSON'),
        ('\xff\xfe\x00', 'not readable JSON'),
        (as_json()[:-2], 'not readable JSON'),
        ('[' * 100_000, 'not readable JSON'),
        ('{"a":' * 100_000, 'not readable JSON'),
        ('null', "not an object with a list 'skeletons'"),
        ('[]', "not an object with a list 'skeletons'"),
        ('{}', "not an object with a list 'skeletons'"),
        ('{"skeletons": 1e9}', "not an object with a list 'skeletons'"),
        ('{"skeletons": "a"}', "not an object with a list 'skeletons'"),
        ('{"skeletons": []}', 'has no frame'),
        ('{"skeletons": [[]]}', 'frame 1: has 0 joints; it must be a list of 20 joints'),
        (changed(1, value=sequence(1)[0] + [[0.0, 0.0, 0.0]]), 'frame 2: has 21 joints'),
        (changed(1, value=None), 'frame 2: has a NoneType'),
        (changed(1, value={}), 'frame 2: has a dict'),
        (changed(1, 2, value=[1.0, 2.0]), 'frame 2, joint 3: is not a list of 3 numbers'),
        (changed(1, 2, value=[1.0, 2.0, 3.0, 4.0]), 'frame 2, joint 3: is not a list'),
        (changed(1, 2, value=1.0), 'frame 2, joint 3: is not a list'),
        (changed(0, 0, value='abc'), 'frame 1, joint 1: is not'),
        (changed(1, 2, 0, value='1.5'), 'frame 2, joint 3: is not a list'),
        (changed(1, 2, 0, value=True), 'joint 3: is not'),
        (changed(1, 2, 0, value=None), 'frame 2, joint 3: is not a list'),
        (changed(1, 2, 0, value=[1.0]), 'joint 3: is not'),
        (changed(1, 2, 0, value=float('nan')), 'frame 2, joint 3: its numbers are not finite'),
        (changed(1, 2, 0, value=float('-inf')), 'frame 2, joint 3: its numbers are not finite'),
        (changed(1, 2, 0, value=1e300), 'frame 2, joint 3: its numbers are not finite'),
        (as_json().replace('0.001', '9' * 5000, 1), 'frame 1, joint 1: its numbers are not finite'),
    ],
)
def test_broken_json(text, message):
    with pytest.raises(RecordingError, match=message):
        read_json(text.encode('latin1'))


def test_random_damage_is_reported():
    rng = random.Random(0)
    pieces = [
        b'',
        b'[',
        b']',
        b'{',
        b'"',
        b',',
        b'\n',
        b'-',
        b'e999',
        b'\0',
        b'\xff',
        b'NaN',
        b'null',
        b'7777777777',
    ]
    for read, text in ((read_json, as_json().encode()), (read_frame, PUBLIC.encode())):
        for _ in range(100):
            damaged = bytearray(text)
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(len(damaged))
                damaged[place : place + rng.randint(0, 3)] = rng.choice(pieces)
            try:
                joints = read(bytes(damaged))
            except RecordingError:
                continue
            assert joints is None or joints.shape[-2:] == (20, 3) and np.isfinite(joints).all()


@pytest.mark.parametrize(
    'name, message',
    [
        ('a01_s01_e00_v04.json', r'has view 4 in its name; nw_ucla has \(1, 2, 3\)'),
        ('a13_s01_e00_v01.json', 'has action 13'),
        ('a10_s01_e00_v01.json', 'has action 10'),
        ('list.json', 'is not named like a01_s01_e00_v01.json'),
        (
            'view_1/a1_s1_e0/frame_1_tc_1_skeletons.txt',
            'is not named like .* or like the folder view_1/a01_s01_e00',
        ),
        ('a01_s01_e00/frame_1_tc_1_skeletons.txt', 'is not named like'),
        ('view_9/a01_s01_e00/frame_1_tc_1_skeletons.txt', 'has view 9'),
    ],
)
def test_wrong_name(tmp_path, name, message):
    reader = NWUCLA(list_files([put(tmp_path, {name: as_json()}, 'folder')]))
    (recording,) = reader.recordings()
    with pytest.raises(RecordingError, match=message):
        reader.read(recording)


def test_json_that_is_too_large():
    with pytest.raises(RecordingError, match=f'the limit is {MAX_JSON}'):
        NWUCLA([]).read(
            SourceFile('/x/a01_s01_e00_v01.json', 'a01_s01_e00_v01.json', MAX_JSON + 1, 0)
        )


def test_source_without_recordings(tmp_path):
    files = list_files(
        [put(tmp_path, {'view_1/a01_s01_e00/fileList.txt': '', 'readme.md': ''}, 'folder')]
    )
    with pytest.raises(
        ValueError,
        match='neither JSON files like a01_s01_e00_v01.json nor frames .* give the folder',
    ):
        NWUCLA(files).recordings()


def test_a_folder_is_one_recording_wherever_the_source_begins(tmp_path):
    put(tmp_path, {'view_2/a03_s04_e05/frame_1_tc_1_skeletons.txt': PUBLIC}, 'folder')
    for source in (tmp_path, tmp_path / 'view_2', tmp_path / 'view_2' / 'a03_s04_e05'):
        reader = NWUCLA(list_files([str(source)]))
        (recording,) = reader.recordings()
        assert str(recording).endswith('view_2/a03_s04_e05')
        assert reader.read(recording)[0]['frame_dir'] == 'a03_s04_e05_v02'
