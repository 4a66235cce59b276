"""MSR Action3D: generated files in both forms against known values."""

import random

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers.msr_action3d import MAX_FILE, SUBSETS, MSRAction3D, read_skeleton
from aimclr_mm.datasets.readers.sources import RecordingError, SourceFile, list_files
from aimclr_mm.skeletons import KINECT20
from tests.datasets.readers.on_disk import put

# joint -> 1-based line in a frame, as in the picture and the drawskt.m of the authors
LINES = dict(
    left_shoulder=1,
    right_shoulder=2,
    shoulder_center=3,
    spine=4,
    left_hip=5,
    right_hip=6,
    hip_center=7,
    left_elbow=8,
    right_elbow=9,
    left_wrist=10,
    right_wrist=11,
    left_hand=12,
    right_hand=13,
    left_knee=14,
    right_knee=15,
    left_ankle=16,
    right_ankle=17,
    left_foot=18,
    right_foot=19,
    head=20,
)


def real(frames: int = 3, action: int = 1) -> str:
    """Return a file in meters: x is the line of the joint, y the frame, z the action."""
    return ''.join(
        f'{line}.250000 {frame}.500000 {action}.750000 1.000000\n'
        for frame in range(frames)
        for line in range(1, 21)
    )


def screen(*rows: str) -> str:
    """Return a file in the depth image with the spacing of the originals; missing rows are 0."""
    numbers = [*(row.split() for row in rows), *([['0', '0', '0', '0']] * (-len(rows) % 20))]
    return ''.join(
        ''.join(f'  {float(cell):.7e}'.replace('e+0', 'e+00') for cell in row) + '\r\n'
        for row in numbers
    )


def names(*stems: str) -> list[SourceFile]:
    """Return files of which only the names matter."""
    return [SourceFile(f'/data/{stem}.txt', f'{stem}.txt', 0, 0) for stem in stems]


@pytest.mark.parametrize('form', ['zip', 'folder'])
def test_files(tmp_path, form):
    files = {
        'Real3D/a02_s01_e01_skeleton3D.txt': real(3, 2),
        'Real3D/a20_s10_e03_skeleton3D.txt': real(13, 20),
        'Screen/a02_s01_e01_skeleton.txt': 'not read',
        'Screen/a14_s03_e02_skeleton.txt': screen('120 80 669 1'),
        'Real3D/a07_s04_e01_skeleton3D.txt': real()[:500],
        'Real3D/drawskt.m': 'J=[20 1',
    }
    out = str(tmp_path / 'out' / 'msr.pkl')
    reader = MSRAction3D(list_files([put(tmp_path, files, form)], MSRAction3D.pattern))
    summary = prepare(reader, out, workers=1)
    data = read_pickle(out)
    read = {item['frame_dir']: item for item in data['annotations']}
    assert {
        name: (item['label'], item['subject'], item['total_frames']) for name, item in read.items()
    } == {'a02_s01_e01': (1, 1, 3), 'a20_s10_e03': (19, 10, 13), 'a14_s03_e02': (13, 3, 1)}
    assert len(summary.problems) == 1 and 'a07_s04_e01_skeleton3D.txt: line ' in summary.problems[0]
    assert list(summary.left_out.values()) == [['a02_s01_e01_skeleton']]
    assert data['split'] == dict(
        xsub_train=['a02_s01_e01', 'a14_s03_e02'],
        as1_xsub_train=['a02_s01_e01'],
        xsub_val=['a20_s10_e03'],
        as1_xsub_val=['a20_s10_e03'],
        as3_xsub_val=['a20_s10_e03'],
        as2_xsub_train=['a14_s03_e02'],
        as3_xsub_train=['a14_s03_e02'],
    )
    assert data['metainfo']['layout'] == 'kinect20'
    keypoint = read['a20_s10_e03']['keypoint']
    assert (
        keypoint.shape == (1, 13, 20, 3)
        and keypoint.dtype == np.float32
        and keypoint.flags.c_contiguous
    )
    for joint, line in LINES.items():
        expected = [[line + 0.25, frame + 0.5, 20.75] for frame in range(13)]
        assert keypoint[0, :, KINECT20.index(joint)].tolist() == expected, joint


def test_screen_coordinates_become_meters():
    # 40 pixels left of and above the center, 669 steps of 4 mm away; then the center, 2 m away
    keypoint = read_skeleton(screen('120 80 669 1', '160 120 500 0.97').encode(), screen=True)
    assert keypoint.shape == (1, 1, 20, 3)
    left, right, head = (
        keypoint[0, 0, KINECT20.index(j)] for j in ('left_shoulder', 'right_shoulder', 'head')
    )
    np.testing.assert_allclose(left, [-0.374750, 0.374750, 2.676], atol=1e-6)
    assert right.tolist() == [0, 0, 2] and head.tolist() == [0, 0, 0]
    # the same joint in the other form
    np.testing.assert_allclose(left, [-0.371736, 0.371031, 2.674849], atol=0.007)


def test_joint_outside_of_the_image():
    with pytest.raises(
        RecordingError, match='line 2: the joint lies at 140, 2147480000, 498, outside'
    ):
        read_skeleton(screen('120 80 669 1', '140 2147480000 498 1').encode(), screen=True)
    with pytest.raises(RecordingError, match='line 1: the joint lies at 120, 80, -1'):
        read_skeleton(screen('120 80 -1 1').encode(), screen=True)


def test_frames_of_zeros_stay():
    zeros = '0.000000 0.000000 0.000000 0.000000\n' * 20
    keypoint = read_skeleton((real(1) + zeros + real(1)).encode())
    assert keypoint.any(axis=(0, 2, 3)).tolist() == [True, False, True]
    assert read_skeleton((zeros * 2).encode()).shape == (1, 2, 20, 3)


def test_spacing_does_not_matter():
    text = real()
    expected = read_skeleton(text.encode())
    for other in (
        text.replace('\n', '\r\n'),
        text.replace(' ', '\t'),
        text.replace(' ', '  ').replace('\n', ' \n'),
        text.rstrip('\n'),
        text + '\n \r\n',
        '\ufeff' + text,
    ):
        assert np.array_equal(read_skeleton(other.encode()), expected)


def test_recordings_are_the_better_form():
    reader = MSRAction3D(
        names(
            'a01_s01_e01_skeleton',
            'a01_s01_e01_skeleton3D',
            'a01_s01_e02_skeleton',
            'a01_s01_e03_skeleton3D',
        )
    )
    assert [file.stem for file in reader.recordings()] == [
        'a01_s01_e01_skeleton3D',
        'a01_s01_e02_skeleton',
        'a01_s01_e03_skeleton3D',
    ]
    assert list(reader.left_out.values()) == [['a01_s01_e01_skeleton']]


def test_splits():
    assert {name: len(actions) for name, actions in SUBSETS.items()} == dict(as1=8, as2=8, as3=8)
    reader = MSRAction3D([])
    found = {
        action: set(reader.splits(dict(subject=7, label=action - 1))) - {'xsub_train'}
        for action in range(1, 21)
    }
    assert {action for action, splits in found.items() if 'as1_xsub_train' in splits} == {
        2,
        3,
        5,
        6,
        10,
        13,
        18,
        20,
    }
    assert {action for action, splits in found.items() if 'as2_xsub_train' in splits} == {
        1,
        4,
        7,
        8,
        9,
        11,
        12,
        14,
    }
    assert {a for a, splits in found.items() if 'as3_xsub_train' in splits} == {
        6,
        14,
        15,
        16,
        17,
        18,
        19,
        20,
    }
    assert reader.splits(dict(subject=10, label=14)) == ['xsub_val', 'as3_xsub_val']
    assert set().union(*found.values()) | {'xsub_train'} == {
        split for split in reader.published if split.endswith('train')
    }


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'is empty'),
        ('\n\r\n', 'is empty'),
        ('\ufeff', 'is empty'),
        (
            real().rsplit('\n', 2)[0],
            r'line 59: the file ends after 19 of 20 joints of frame 3; it is truncated',
        ),
        (real()[:-12], 'line 60: a joint needs 4 finite numbers'),
        (real(1) + '1 2 3 4\n' * 5, 'line 25: the file ends after 5 of 20 joints of frame 2'),
        (real().replace('7.250000', 'seven', 1), 'line 7: a joint needs'),
        (real().replace('7.250000', 'nan', 1), 'line 7: a joint needs'),
        (real().replace('7.250000', '-inf', 1), 'line 7: a joint needs'),
        (real().replace('7.250000', '1e39', 1), 'line 7: a joint needs'),
        (real().replace('7.250000', '1e999', 1), 'line 7: a joint needs'),
        (real().replace('7.250000', '', 1), 'line 7: a joint needs'),
        (real().replace('7.250000', '7 7', 1), 'line 7: more than 4 values'),
        (real().replace('\n', '\n\n', 1), 'line 2: a joint needs'),
        (real().replace(' ', ','), 'line 1: a joint needs'),
        ('60\n' + real(), 'line 1: a joint needs'),
        ('1000000000\n', 'line 1: a joint needs'),
        ('-1', 'line 1: a joint needs'),
        (real() + '\0', 'not plain text'),
        (real() + '\u00e9', 'not plain text'),
        ('"' + real(), 'line 1: a joint needs'),
    ],
)
def test_broken_file(text, message):
    with pytest.raises(RecordingError, match=message):
        read_skeleton(text.encode())


def test_random_damage_is_reported():
    rng, text = random.Random(0), real(2).encode()
    for screen_form in (False, True):
        for _ in range(60):
            damaged = bytearray(text)
            for _ in range(rng.randint(1, 4)):
                place = rng.randrange(len(damaged))
                damaged[place : place + rng.randint(0, 3)] = rng.choice(
                    [
                        b'',
                        b'\n',
                        b' ',
                        b'-',
                        b'"',
                        b',',
                        b'\0',
                        b'\xff',
                        b'#',
                        b'e',
                        b'999999999999',
                        b'\r',
                        b'NaN',
                    ]
                )
            try:
                keypoint = read_skeleton(bytes(damaged), screen_form)
            except RecordingError:
                continue
            assert keypoint.shape[2:] == (20, 3) and np.isfinite(keypoint).all()
    with pytest.raises(RecordingError):
        read_skeleton(rng.randbytes(10_000))


@pytest.mark.parametrize(
    'stem, message',
    [
        ('a21_s01_e01_skeleton3D', 'has action 21 in its name; msr_action3d has 1 to 20'),
        ('a00_s01_e01_skeleton', 'has action 0'),
        ('a1_s1_e1_skeleton3D', 'is not named like a01_s01_e01_skeleton3D.txt'),
        ('a01_s01_e01_skeleton3D (1)', 'is not named like'),
        ('a01_s01_e01_skeleton2D', 'is not named like'),
        ('a01_s01_e01_skeleton', 'cannot be read'),
    ],
)
def test_wrong_name(stem, message):
    with pytest.raises(RecordingError, match=message.replace('(', r'\(')):
        MSRAction3D([]).read(names(stem)[0])


def test_file_that_is_too_large(tmp_path):
    with open(tmp_path / 'a01_s01_e01_skeleton3D.txt', 'wb') as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(RecordingError, match=f'the limit is {MAX_FILE}'):
        MSRAction3D([]).read(list_files([str(tmp_path)])[0])
