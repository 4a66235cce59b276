"""Files of single sequences: known coordinates in every format, and refused files."""

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets.own_files import sequences
from aimclr_mm.datasets.own_files.fields import read_fields
from aimclr_mm.datasets.readers import RecordingError, SourceFile
from aimclr_mm.skeletons import COCO17, NTU25


def pose(people: int = 1, frames: int = 3, joints: int = 25, channels: int = 3) -> np.ndarray:
    """Return numbers that are exact in float32 and as decimals, and encode their place."""
    person, frame, joint, channel = np.ogrid[:people, :frames, :joints, :channels]
    return 512.0 * person - 64 * frame + joint + channel / 4


def saved(**arrays) -> bytes:
    """Return an .npz file, or an .npy file for one array named npy."""
    file = io.BytesIO()
    if 'npy' in arrays:
        np.save(file, arrays['npy'])
    else:
        np.savez_compressed(file, **arrays)
    return file.getvalue()


def header(shape: str, descr: str = '<f8') -> bytes:
    """Return the header of an .npy file, possibly wrong."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text


def table(array: np.ndarray, separator: str = ',', head: str = '', end: str = '\n') -> bytes:
    """Return an array (M, T, V, C) as text, one line per frame."""
    rows = array.swapaxes(0, 1).reshape(array.shape[1], -1)
    return (head + ''.join(separator.join(map(repr, row)) + end for row in rows.tolist())).encode()


def person(keypoint: np.ndarray, score: float) -> dict:
    """Return one instance as mmpose writes it, including its doubly nested box."""
    return dict(
        keypoints=keypoint.tolist(),
        keypoint_scores=[score] * len(keypoint),
        bbox=[[0.0, 0.0, 9.0, 9.0]],
        bbox_score=0.75,
    )


def frames_of_mmpose() -> list[dict]:
    """Return frames with two people, none and one."""
    array = pose(2, 3, 17, 2)
    return [
        dict(frame_id=0, instances=[person(array[0, 0], 0.5), person(array[1, 0], 0.25)]),
        dict(frame_id=1, instances=[]),
        dict(frame_id=2, instances=[person(array[0, 2], 1.0)]),
    ]


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a file with a given content."""

    def reader(name: str, content: bytes, layout=NTU25):
        path = tmp_path / name
        path.write_bytes(content)
        fields = read_fields(SourceFile(str(path), name, len(content), 0), layout)
        assert fields['total_frames'] == fields['keypoint'].shape[1]
        return fields['keypoint'], fields.get('keypoint_score')

    return reader


def check(result: tuple, expected: np.ndarray, score: np.ndarray | None = None) -> None:
    """Assert equal values, shapes, type and memory order; NaN is a missing joint."""
    for array, wanted in zip(result, (expected, score)):
        if wanted is None:
            assert array is None
            continue
        assert array.dtype == np.float32 and array.flags.c_contiguous
        assert array.shape == wanted.shape and np.array_equal(array, wanted, equal_nan=True)


def encoded(value) -> bytes:
    return json.dumps(value).encode()


def test_missing_values_are_nan(read):
    array = pose()
    array[0, 1, 3] = np.nan
    check(read('a.npy', saved(npy=array)), array)
    check(read('a.csv', table(array).replace(b'nan', b'')), array)
    check(read('a.json', encoded(array.tolist()).replace(b'NaN', b'null')), array)


ONE, TWO, SCORED = pose(), pose(2), pose(2, channels=4)


@pytest.mark.parametrize(
    'name, content, expected',
    [
        ('a.npy', saved(npy=ONE[0]), ONE),
        ('a.NPY', saved(npy=TWO), TWO),
        ('a.npy', saved(npy=ONE[0].reshape(3, 75)), ONE),
        ('a.npy', saved(npy=np.asfortranarray(TWO)), TWO),
        ('a.npy', saved(npy=TWO.astype('>f2')), TWO.astype('f2')),
        ('a.npy', saved(npy=TWO.swapaxes(0, 1).reshape(3, 150)), TWO),
        ('a.npy', saved(npy=ONE[0].astype('i1')), np.trunc(ONE)),
        ('a.npz', saved(keypoint=TWO, more=ONE), TWO),
        ('a.npz', saved(positions=ONE[0]), ONE),
        ('a.csv', table(ONE), ONE),
        ('a.csv', table(TWO, ';'), TWO),
        ('a.txt', table(ONE, '\t'), ONE),
        ('a.txt', table(ONE, ' '), ONE),
        ('a.txt', table(ONE, '   ', end=' \r\n'), ONE),
        ('a.csv', table(ONE, ', '), ONE),
        ('a.csv', table(ONE, head='j0 x,j0 y\n'), ONE),
        ('a.csv', table(ONE, end='\r\n') + b'\r\n \n', ONE),
        ('a.csv', table(ONE, head='\ufeff头,x\n'), ONE),
        ('a.csv', b'\xef\xbb\xbf' + table(ONE, end=',\n'), ONE),
        ('a.csv', table(ONE, head=','.join(map(str, range(75))) + '\n'), ONE),
        ('a.txt', table(ONE, ' ', '# x y z\n'), ONE),
        ('a.json', encoded(ONE[0].tolist()), ONE),
        ('a.json', encoded(dict(keypoint=TWO.tolist())), TWO),
        ('a.json', b'\xef\xbb\xbf' + encoded(ONE[0].reshape(3, 75).tolist()), ONE),
    ],
)
def test_coordinates(read, name, content, expected):
    check(read(name, content), expected)


@pytest.mark.parametrize(
    'name, content',
    [
        ('a.npy', saved(npy=SCORED)),
        ('a.npz', saved(keypoint=SCORED[..., :3], keypoint_score=SCORED[..., 3])),
        (
            'a.json',
            encoded(
                dict(keypoint=SCORED[..., :3].tolist(), keypoint_score=SCORED[..., 3].tolist())
            ),
        ),
        ('a.csv', table(SCORED)),
    ],
)
def test_scores(read, name, content):
    check(read(name, content), SCORED[..., :3], SCORED[..., 3])


def test_third_channel_of_a_plane_layout_is_a_score(read):
    array = pose(1, 3, 17, 3)
    check(read('a.npy', saved(npy=array[0]), COCO17), array[..., :2], array[..., 2])
    check(
        read('a.npz', saved(keypoint=array[0, ..., :2], keypoint_score=array[0, ..., 2]), COCO17),
        array[..., :2],
        array[..., 2],
    )
    with pytest.raises(
        RecordingError, match='102 values a frame, which may be 3 people or 2 with scores.*npy'
    ):
        read('a.csv', table(pose(3, 3, 17, 2)), COCO17)


@pytest.mark.parametrize(
    'content',
    [frames_of_mmpose(), dict(meta_info={}, instance_info=frames_of_mmpose())],
    ids=['inferencer', 'demo'],
)
def test_results_of_mmpose(read, content):
    expected, score = pose(2, 3, 17, 2), np.zeros((2, 3, 17))
    expected[:, 1] = expected[1, 2] = np.nan
    score[0, 0], score[1, 0], score[0, 2] = 0.5, 0.25, 1
    check(read('a.json', encoded(content), COCO17), expected, score)


@pytest.mark.parametrize(
    'frames, message',
    [
        ([dict(instances=[])], 'no person in any frame'),
        ([person(pose(joints=17)[0, 0], 1)], "frame 0 .*no list 'instances'.*video"),
        ([*frames_of_mmpose(), 3], 'frame 3 .counted from 0. has no list'),
        ([dict(instances=['x'])], "needs 'keypoints'"),
        ([dict(instances=[dict(keypoints=[])])], "'keypoint_scores'"),
        (
            [dict(instances=[person(pose()[0, 0], 1)])],
            r'person 0 .*\(25, 3\) and scores \(25,\).*coco17 needs \(17, 2\)',
        ),
        (
            [dict(instances=[dict(keypoints='x', keypoint_scores=[1])])],
            'keypoints is not a regular list',
        ),
        ([dict(instances=[{}] * 65)], '65 people'),
        (
            [dict(instances=[{}] * 64), *[dict(instances=[])] * 30_000],
            '64 people, 30001 frames and 97923264 values; the limits are',
        ),
    ],
)
def test_bad_results_of_mmpose(read, frames, message):
    with pytest.raises(RecordingError, match=message):
        read('a.json', encoded(frames), COCO17)


def changed(array: np.ndarray, value: float) -> np.ndarray:
    """Return the array with another value at frame 2, joint 7."""
    array = array.copy()
    array[0, 2, 7, 1] = value
    return array


LINES = table(ONE).split(b'\n')
WHERE = 'frame 2, joint 7.*counted from 0'


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.npy', b'', 'not a readable .npy'),
        ('a.npy', b'junk' * 99, 'not a readable .npy'),
        ('a.npy', saved(npy=ONE)[:40], 'not a readable .npy'),
        (
            'a.npy',
            header('(1000000000000, 25, 3)') + bytes(600),
            'not a readable .npy',
        ),
        ('a.npy', saved(npy=ONE)[:-1], 'not a readable .npy.* expected 1800 bytes got 1799'),
        (
            'a.npy',
            saved(npy=ONE) + b'\0',
            r'has 1929 bytes; the array \(1, 3, 25, 3\) in it ends after 1928',
        ),
        ('a.npy', header('(' * 300), 'not a readable .npy'),
        ('a.npy', header('(-1, -25, 3)') + bytes(600), 'not a readable .npy'),
        ('a.npy', header('(True, 25, 3)') + bytes(600), 'not a readable .npy'),
        ('a.npy', header("('x',)"), 'not a readable .npy'),
        ('a.npy', header('(4,' + '1,' * 80 + ')') + bytes(32), 'not a readable .npy'),
        ('a.npy', header('(0, 10000000000000, 3)'), 'no axis may be empty'),
        ('a.npy', saved(npy=np.array(['x'])), 'holds <U1'),
        ('a.npy', header('(9,)', '|O') + bytes(72), 'not a readable .npy.*Object arrays'),
        ('a.npy', saved(npy=ONE > 0), 'holds bool'),
        ('a.npy', saved(npy=ONE + 1j), 'holds complex'),
        ('a.npy', saved(npy=ONE[0, :0]), r'shape \(0, 25, 3\)'),
        ('a.npy', saved(npy=np.zeros(75)), r'shape \(75,\)'),
        ('a.npy', saved(npy=pose(joints=17)), 'has 17 joints; the layout ntu25 has 25'),
        ('a.npy', saved(npy=pose(channels=2)), '2 values a joint; .* 3 coordinates'),
        (
            'a.npy',
            saved(npy=ONE.reshape(3, 75)[:, 1:]),
            '74 values a frame; 25 joints .* make 75 .*100',
        ),
        ('a.npy', saved(npy=pose(65)), '65 people.*limits are 64'),
        ('a.npy', saved(npy=changed(ONE, 1e39)), WHERE),
        ('a.npy', saved(npy=changed(pose(channels=4), -np.inf)), WHERE),
        ('a.npz', b'PK\3\4', 'not a readable .npz'),
        ('a.npz', saved(keypoint=ONE)[:-30], 'not a readable .npz'),
        ('a.npz', saved(a=ONE, b=ONE), r"arrays \['a', 'b'\]; it must have keypoint"),
        ('a.npz', saved(), r'arrays \[\]; it must have keypoint'),
        (
            'a.npz',
            saved(keypoint=ONE, keypoint_score=ONE[..., 0, 0]),
            r'keypoint_score has shape \(1, 1, 3\)',
        ),
        ('a.npz', saved(keypoint=SCORED, keypoint_score=SCORED[..., 0]), 'scores twice'),
        (
            'a.npz',
            saved(keypoint=ONE, keypoint_score=changed(ONE, np.inf)[..., 1]),
            f'score of {WHERE}',
        ),
        ('a.csv', b'', 'no frame'),
        ('a.csv', b' \r\n\r\n', 'no frame'),
        ('a.csv', b'x,y,z\n', 'no frame'),
        ('a.csv', table(ONE)[:-60], r'line 3: has \d+ values; the lines before it have 75'),
        ('a.csv', table(ONE) + b'1,2\n', 'line 4: has 2 values'),
        ('a.csv', b'h\n' + table(ONE) + LINES[0] + b',5', 'line 5: has 76 values'),
        ('a.txt', table(changed(ONE, np.inf), '  '), WHERE),
        (
            'a.csv',
            table(ONE).replace(b',2.25', b',x'),
            "line 1: value 8 is 'x'",
        ),
        ('a.csv', table(pose(joints=17)), '51 values a frame; 25 joints'),
        ('a.csv', table(ONE) + b'\0', 'not plain text'),
        ('a.csv', table(ONE) + 'é'.encode(), 'line 4: has 1 values'),
        ('a.csv', b'1,' * 200_000, 'line 1: has 400000 characters'),
        ('a.csv', b'1\n' * 1_000_002, 'more than 1000000 lines'),
        ('a.csv', LINES[0] + b'\n1' * 900_000, 'line 2: has 1 values; the lines before it have 75'),
        ('a.json', b'', 'not readable JSON'),
        ('a.json', b'[' * 99_999, 'not readable JSON'),
        ('a.json', b'\xff', 'not readable JSON'),
        ('a.json', encoded(ONE.tolist())[:-1], 'not readable JSON'),
        ('a.json', b'{}', "'keypoint' or 'instance_info'"),
        ('a.json', b'3', 'must have a list'),
        ('a.json', b'[]', r'shape \(0,\)'),
        ('a.json', b'[[[1, 2], [1]]]', 'not a regular list'),
        ('a.json', b'[[["x"]]]', 'not a regular list'),
        ('a.json', b'{"keypoint": {}}', 'keypoint is not a regular list'),
        ('a.json', b'[' * 90 + b']' * 90, 'not a regular list'),
        ('a.json', b'[' + b'9' * 5000 + b']', 'shape'),
        ('a.json', encoded(changed(ONE, np.inf).tolist()), WHERE),
        ('a.mp4', b'', r"extension '.mp4'; known are \['.npy', '.npz', '.csv'"),
        ('a', b'', "extension ''"),
    ],
)
def test_bad_file(read, name, content, message):
    with pytest.raises(RecordingError, match=message):
        read(name, content)


def test_zip_bombs(read, tmp_path, monkeypatch):
    """An archive that states a large size, and one that states a wrong small one."""
    monkeypatch.setattr(sequences, 'MAX_BYTES', 10_000)
    content = saved(keypoint=np.zeros((90, 25, 3)))
    assert len(content) < 2000
    with pytest.raises(RecordingError, match='keypoint.npy has 54128 bytes; the limit is 10000'):
        read('a.npz', content)
    with zipfile.ZipFile(tmp_path / 'lie.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('keypoint.npy', saved(npy=np.zeros((90, 25, 3))))
    lie = (
        (tmp_path / 'lie.npz')
        .read_bytes()
        .replace(struct.pack('<I', 54128), struct.pack('<I', 1928))
    )
    with pytest.raises(RecordingError, match='not a readable .npz.*CRC'):
        read('a.npz', lie)


def test_missing_large_and_no_file(tmp_path: Path):
    with pytest.raises(RecordingError, match=f'file {tmp_path / "none.npy"} does not exist'):
        read_fields(SourceFile(str(tmp_path / 'none.npy'), 'none.npy', 0, 0), NTU25)
    (tmp_path / 'folder.npy').mkdir()
    with pytest.raises(RecordingError, match=r'is a folder that holds no files \*_keypoints.json'):
        read_fields(SourceFile(str(tmp_path / 'folder.npy'), 'folder.npy', 0, 0), NTU25)
    with open(tmp_path / 'large.csv', 'wb') as file:
        file.truncate(2**30)
    with pytest.raises(RecordingError, match='has more bytes than the 5'):
        read_fields(SourceFile(str(tmp_path / 'large.csv'), 'large.csv', 5, 0), NTU25)


def test_compressed_text(read):
    content = gzip.compress(table(ONE))
    check(read('a.csv.gz', content), ONE)
    check(read('a.JSON.GZ', gzip.compress(encoded(ONE.tolist()))), ONE)
    with pytest.raises(RecordingError, match='is not a readable .gz file'):
        read('a.csv.gz', content[:-9])
    with pytest.raises(
        RecordingError, match='65250 bytes, which unpack to 67108865 or more; the limit is'
    ):
        read('a.csv.gz', gzip.compress(bytes(2**26 + 1), 9))
    with pytest.raises(RecordingError, match="extension '.npy'"):
        read('a.npy.gz', content)


def test_own_recordings_in_the_format_of_ntu(read):
    """All bodies; the layout is that of the format."""
    frames = [[ntu_body(10 * frame + body) for body in range(3)] for frame in range(2)]
    lines = ['2', *(line for bodies in frames for line in ['3', *sum(bodies, [])])]
    keypoint, _ = read('mine.skeleton', '\n'.join(lines).encode())
    assert keypoint.shape == (3, 2, 25, 3)
    assert keypoint[:, :, 24, 0].tolist() == [[0, 10], [1, 11], [2, 12]]
    with pytest.raises(RecordingError, match='the joints of layout ntu25, like all .skeleton'):
        read('mine.skeleton', '\n'.join(lines).encode(), COCO17)


def ntu_body(x: float) -> list[str]:
    joint = ' '.join(map(str, [x, 0.5, 2.0, *range(9)]))
    return [' '.join(map(str, range(10))), '25', *([joint] * 25)]
