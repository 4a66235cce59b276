"""Folders of recordings, one per class, against known values."""

import random
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.own_files.folders import FolderReader, sort_names
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers.sources import RecordingError, list_files
from aimclr_mm.skeletons import COCO17, KINECT20, Layout, get_layout
from tests.datasets.readers.on_disk import put

STICK = dict(
    name='stick',
    joints=['middle', 'left_end', 'right_end'],
    parents=['middle', 'middle', 'middle'],
    center='middle',
    dims=2,
    shoulders=['left_end', 'right_end'],
)
YAML = (
    'bones: {middle: middle, left_end: middle, right_end: middle}\ncenter: middle\ndims: 2\n'
    'shoulders: [left_end, right_end]\n'
)


def table(frames: int, width: int = 60, separator: str = ' ') -> str:
    """Return a table: the number in frame f and column c is f + c / 1000."""
    return ''.join(
        separator.join(f'{frame + column / 1000:.3f}' for column in range(width)) + '\n'
        for frame in range(frames)
    )


def read_one(
    folder: Path, text: str, layout='kinect20', name: str = 'wave/a.txt', **options
) -> dict:
    """Return the sequence of a source of one file."""
    reader = FolderReader(list_files([put(folder, {name: text})]), layout, **options)
    (recording,) = reader.recordings()
    (annotation,) = reader.read(recording)
    return annotation


@pytest.mark.parametrize('form', ['zip', 'folder'])
def test_files(tmp_path, form):
    files = {
        'walk/p01_s1.txt': table(4),
        'wave/p01_s2.txt': table(2, 120),
        'wave/p02_s3.csv': table(3, 60, ';'),
        'sit down/p01_s1.txt': table(1, 60, ','),
        'loose_s10.txt': table(2),
        'walk/broken_s4.txt': table(2, 59),
        'walk/nobody.txt': table(2),
        'walk/picture.jpg': 'x',
        'other/notes.md': 'x',
    }
    out = str(tmp_path / 'out' / 'folders.pkl')
    reader = FolderReader(
        list_files([put(tmp_path, files, form)], FolderReader.pattern), 'kinect20', r'_s(\d+)$'
    )
    summary = prepare(reader, out, workers=1)
    data = read_pickle(out)
    assert data['metainfo'] == dict(
        dataset='folders',
        layout='kinect20',
        missing='interpolate',
        unit=None,
        preprocessed=False,
        subject=r'_s(\d+)$',
        classes=['sit down', 'walk', 'wave'],
    )
    read = {item['frame_dir']: item for item in data['annotations']}
    assert {
        name: (item.get('label'), item['subject'], item['keypoint'].shape[0], item['total_frames'])
        for name, item in read.items()
    } == {
        'loose_s10': (None, 10, 1, 2),
        'sit down/p01_s1': (0, 1, 1, 1),
        'walk/p01_s1': (1, 1, 1, 4),
        'wave/p01_s2': (2, 2, 2, 2),
        'wave/p02_s3': (2, 3, 1, 3),
    }
    assert {name: sorted(split) for name, split in data['split'].items()} == dict(
        xsub_train=['sit down/p01_s1', 'walk/p01_s1', 'wave/p02_s3'],
        xsub_val=['loose_s10', 'wave/p01_s2'],
    )
    keypoint = read['wave/p01_s2']['keypoint']
    assert keypoint.dtype == np.float32 and keypoint.flags.c_contiguous
    for person, frame, joint, coordinate in (
        (0, 0, 0, 0),
        (0, 1, 3, 2),
        (1, 0, 0, 0),
        (1, 1, 19, 1),
    ):
        expected = frame + (person * 60 + joint * 3 + coordinate) / 1000
        assert keypoint[person, frame, joint, coordinate] == np.float32(expected)
    problems = sorted(summary.problems)
    assert len(problems) == 2 and 'walk/broken_s4.txt: has 59 ' in problems[0]
    assert 'walk/nobody.txt: its name holds no number of a subject' in problems[1]
    assert [f'{reason}: {names}' for reason, names in sorted(summary.left_out.items())] == [
        "files of other formats (.jpg): ['walk/picture.jpg']",
        "files of other formats (.md): ['other/notes.md']",
    ]


@pytest.mark.parametrize('separator', [' ', '\t', ',', ';', '  ', ' \t ', ', ', '; '])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_separators_and_headers(tmp_path, separator, end):
    names = separator.join(f'joint{column // 3}_{"xyz"[column % 3]}' for column in range(60)) + '\n'
    expected = np.float32(np.arange(60) / 1000 + np.arange(3)[:, None]).reshape(1, 3, 20, 3)
    for header in ('', names, '\ufeff'.encode().decode('latin1') + names):
        text = (header + table(3, 60, separator)).replace('\n', end)
        for tail in ('', end, ' ' + end, end + '  ' + end):
            read = read_one(tmp_path, text.removesuffix(end) + tail)
            np.testing.assert_array_equal(read['keypoint'], expected)
            assert read['label'] == 0 and 'subject' not in read


def test_layouts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('stick.yaml').write_text(YAML)
    expected = np.float32([[[[0, 0.001], [0.002, 0.003], [0.004, 0.005]]]])
    for layout in (STICK, 'stick.yaml', get_layout(STICK)):
        (tmp_path / 'data').mkdir(exist_ok=True)
        put(tmp_path / 'data', {'a/1.txt': table(1, 6)})
        reader = FolderReader(list_files(['data']), layout)
        np.testing.assert_array_equal(reader.read(reader.recordings()[0])[0]['keypoint'], expected)
        stored = get_layout(reader.metainfo()['layout'])  # the fields, not the path of the file
        assert (
            isinstance(stored, Layout)
            and stored.joints == ('middle', 'left_end', 'right_end')
            and stored.dims == 2
        )
        assert type(reader.metainfo()['layout']) is dict
    assert FolderReader([], 'coco17').metainfo()['layout'] == 'coco17'
    people = read_one(tmp_path / 'people', table(2, 2 * 34), 'coco17')['keypoint']
    assert people.shape == (2, 2, COCO17.num_joints, 2) and people[1, 1, 16, 1] == np.float32(1.067)


@pytest.mark.parametrize(
    'layout, message',
    [
        ('kinect21', 'unknown joint layout'),
        (dict(joints=['a']), 'cannot be made'),
        ('missing.yaml', 'does not exist'),
        (dict(STICK, center='head'), 'unknown joints'),
    ],
)
def test_no_layout(layout, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        FolderReader([], layout)


@pytest.mark.parametrize(
    'subject, message',
    [
        ('(', 'is not a valid regular expression'),
        ('s[0-9]+', 'has 0 groups; it needs one'),
        ('(s)([0-9]+)', 'has 2 groups'),
    ],
)
def test_no_expression(subject, message):
    with pytest.raises(ValueError, match=message):
        FolderReader([], 'kinect20', subject)


@pytest.mark.parametrize(
    'name, subject, found',
    [
        ('wave/s07_e1.txt', 's([0-9]+)', 7),
        ('wave/P12.txt', '(?i)p([0-9]+)', 12),
        ('s5/x_8.txt', '([0-9]+)', 8),
    ],
)
def test_subject(tmp_path, name, subject, found):
    assert read_one(tmp_path, table(1), name=name, subject=subject)['subject'] == found


@pytest.mark.parametrize(
    'name, subject',
    [
        ('s7/anna.txt', 's([0-9]+)'),
        ('wave/s_anna.txt', 's_(.+)'),
        ('wave/s.txt', 's([0-9]*)'),
        ('wave/s.txt', 's(x)?'),
        (f'wave/s{"9" * 100}.txt', 's([0-9]+)'),
        ('wave/s-1.txt', 's(.*)'),
    ],
)
def test_name_without_subject(tmp_path, name, subject):
    with pytest.raises(RecordingError, match='its name holds no number of a subject'):
        read_one(tmp_path, table(1), name=name, subject=subject)


def test_splits():
    assert FolderReader([]).splits({}) == []
    reader = FolderReader([], subject='([0-9]+)')
    assert [reader.splits(dict(subject=number)) for number in (1, 2)] == [
        ['xsub_train'],
        ['xsub_val'],
    ]


def test_class_is_the_folder_of_the_file(tmp_path):
    files = {
        'data set/jump/a.txt': table(1),
        'data set/bow/a.txt': table(1),
        'data set/bow/b.txt': table(1),
    }
    reader = FolderReader(list_files([put(tmp_path, files, 'zip')]), 'kinect20')
    assert reader.classes == ['bow', 'jump']
    read = [reader.read(recording)[0] for recording in reader.recordings()]
    assert [(item['frame_dir'], item['label']) for item in read] == [
        ('data set/bow/a', 0),
        ('data set/bow/b', 0),
        ('data set/jump/a', 1),
    ]


def test_arrays(tmp_path):
    (tmp_path / 'wave').mkdir()
    array = np.random.default_rng(0).standard_normal((2, 4, 20, 3)).astype(np.float32)
    np.save(tmp_path / 'wave' / 'a.npy', array)
    reader = FolderReader(list_files([str(tmp_path)]), 'kinect20')
    assert np.array_equal(reader.read(reader.recordings()[0])[0]['keypoint'], array)


def test_scores_are_kept(tmp_path):
    read = read_one(tmp_path, table(2, 80))
    assert read['keypoint'].shape == (1, 2, 20, 3) and read['keypoint_score'].shape == (1, 2, 20)
    assert read['keypoint_score'][0, 1, 2] == np.float32(1.011) and read['keypoint'][
        0, 1, 2, 0
    ] == np.float32(1.008)


def test_source_without_tables(tmp_path):
    with pytest.raises(
        ValueError, match=r'holds no file \*.npy, .*; give the folder whose folders are the classes'
    ):
        FolderReader(list_files([put(tmp_path, {'wave/readme.md': 'x'})])).recordings()


LINE = table(1).rstrip('\n')


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'has no frame|is empty'),
        ('\n\n', 'has no frame|is empty'),
        ('x y z\n', 'has no frame'),
        (table(2, 59), 'has 59 '),
        (table(1, 61), 'has 61 '),
        (table(2, 1), 'has 1 '),
        (table(3)[:-20], 'line 3: '),
        (table(3).replace(' 1.007', ' seven'), 'line 2: '),
        (table(3).replace(' 1.007', ' -inf'), 'frame 1, joint 2 .* not finite'),
        (table(3).replace(' 1.007', ' 1e400'), 'frame 1, joint 2 .* not finite'),
        (table(3).replace(' 1.007', ' 1e300'), 'not finite|line 2'),
        (table(3).replace(' 1.007', ''), 'line 2: '),
        (table(3).replace(' 1.007', ' 1 1'), 'line 2: has 61 values'),
        (table(3, 60, ',').replace('.', ','), 'commas as decimal signs'),
        (table(2) + 'x\n', 'line 3: '),
        ('x ' * 60 + '\n' + table(3).replace(' 1.007', ' seven'), 'line 3: '),
        (LINE + '\n' + 'x' * 10 + '\n' + LINE, 'line 2: '),
        (table(2) + '1000000000\n', 'line 3: '),
        (table(2) + '\0', 'not plain text|line 3'),
        (table(2) + '\xff', 'line 3: '),
        (table(2).replace(' ', '"'), 'value 1 is .* not a number'),
        ('\x89PNG\r\n\x1a\n' + '\0\xff' * 500, '.'),
        ('1 ' * 5_000_000, '.'),
        ('\n'.join(['1'] * 200_000), 'has 1 '),
    ],
)
def test_broken_file(tmp_path, text, message):
    with pytest.raises(RecordingError, match=message):
        read_one(tmp_path, text)


def test_random_damage_is_reported(tmp_path):
    rng = random.Random(0)
    pieces = [
        '',
        ' ',
        '\n',
        ',',
        ';',
        '"',
        '-',
        'e99',
        'nan',
        'x',
        '\0',
        '\xff',
        '1234567890',
        '\r',
    ]
    for number in range(80):
        damaged = list(table(3, 60, rng.choice(' ,;')))
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(damaged))
            damaged[place : place + rng.randint(0, 3)] = rng.choice(pieces)
        try:
            keypoint = read_one(tmp_path / str(number), ''.join(damaged))['keypoint']
        except RecordingError:
            continue
        assert keypoint.shape[2:] == (KINECT20.num_joints, 3) and np.isfinite(keypoint).all()


def test_folders_of_numbers_are_sorted_as_numbers():
    assert sort_names(['10', '9', '2']) == ['2', '9', '10']
    assert sort_names(['10', '9', 'b']) == ['10', '9', 'b']
