"""PKU-MMD: generated files in the form of the original archives, and damaged ones."""

import zipfile

import numpy as np
import pytest

from aimclr_mm.datasets import prepare
from aimclr_mm.datasets.annotations import load_annotations
from aimclr_mm.datasets.readers import RecordingError, list_files, pku_mmd
from aimclr_mm.datasets.readers.pku_mmd import PKUMMD1, PKUMMD2

from .on_disk import put

# headings, spelling and blanks of the original files
LISTS = 'Training videos: \n{}, \nValidataion videos: \n{}, \n'
SUBJECT, VIEW = 'Split/cross-subject.txt', 'Split/cross-view.txt'
SKELETON, LABEL = 'Data/PKU_Skeleton_Renew/{}.txt', 'Label/Train_Label_PKU_final/{}.txt'


def video(frames, bodies=1):
    """Return lines in which value v of frame f (1-based) is f + v / 1000; absent bodies are 0."""
    values = np.arange(1, frames + 1)[:, None] + np.arange(150) / 1000
    values[:, 75 * bodies :] = 0
    return values


def text(values, end='\n'):
    """Return a skeleton file."""
    return ''.join(' '.join(f'{value:g}' for value in row) + end for row in values)


def source(**changed):
    """Return files of part I with two videos and three intervals; None removes a file."""
    files = {
        SKELETON.format('0002-L'): text(video(8)),
        LABEL.format('0002-L'): '32,2,4,2\n51,3,8,1\n',
        SKELETON.format('0291-M'): text(video(6, 2)),
        LABEL.format('0291-M'): '1,0,5,2\n',
        SUBJECT: LISTS.format('0002-L, 0002-M', '0291-M'),
        VIEW: LISTS.format('0291-M', '0002-L'),
    }
    files.update(changed)
    return {name: content for name, content in files.items() if content is not None}


def reader(folder, files=None, kind=PKUMMD1):
    """Return a reader of a folder with these files."""
    path = put(folder, source() if files is None else files)
    return kind(list_files([path], kind.pattern))


def outcome(data):
    """Return sequences by name, and problems."""
    sequences, problems = {}, []
    for recording in data.recordings():
        try:
            sequences.update({sequence['frame_dir']: sequence for sequence in data.read(recording)})
        except RecordingError as error:
            problems.append(f'{recording}: {error}')
    return sequences, problems


def check_source(data):
    """Assert that the sequences are those of :func:`source`."""
    sequences, problems = outcome(data)
    assert problems == [] and list(sequences) == ['0002-L_001', '0002-L_002', '0291-M_001']
    first, second, third = sequences.values()
    assert [s['label'] for s in sequences.values()] == [31, 50, 0]
    assert [s['camera'] for s in sequences.values()] == [1, 1, 2]
    assert all('subject' not in s for s in sequences.values())
    assert [s['keypoint'].shape for s in sequences.values()] == [
        (1, 3, 25, 3),
        (1, 6, 25, 3),
        (2, 5, 25, 3),
    ]
    assert all(
        s['keypoint'].dtype == np.float32
        and s['keypoint'].flags.c_contiguous
        and s['total_frames'] == s['keypoint'].shape[1]
        for s in sequences.values()
    )
    np.testing.assert_allclose(
        first['keypoint'][0, :, 1, 2], [2.005, 3.005, 4.005]
    )  # frames 2 to 4, both included
    np.testing.assert_allclose(second['keypoint'][0, :, 0, 0], [3, 4, 5, 6, 7, 8])
    np.testing.assert_allclose(
        third['keypoint'][:, :, 24, 1],
        [[1.073, 2.073, 3.073, 4.073, 5.073], [1.148, 2.148, 3.148, 4.148, 5.148]],
    )
    assert list(data.splits(first)) == ['xsub_train', 'xview_val']
    assert list(data.splits(third)) == ['xsub_val', 'xview_train']


def test_folder(tmp_path):
    check_source(reader(tmp_path))


def test_zip_archives(tmp_path):
    put(tmp_path / 'files', source())
    for part in ('Data', 'Label', 'Split'):
        with zipfile.ZipFile(tmp_path / f'{part}.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
            for file in (tmp_path / 'files' / part).rglob('*.txt'):
                archive.write(file, file.relative_to(tmp_path / 'files'))
    check_source(
        PKUMMD1(list_files([str(path) for path in sorted(tmp_path.glob('*.zip'))], '*.txt'))
    )


def test_renamed_folders_and_other_spellings(tmp_path):
    files = {
        name.replace('Data/PKU_Skeleton_Renew', 'labels_skeleton/a')
        .replace('Train_Label_PKU_final', 'b')
        .replace('Label', 'c')
        .replace('cross-', 'Cross_'): content
        for name, content in source().items()
    }
    files['labels_skeleton/a/0002-L.txt'] = text(video(8), ' \r\n') + '\r\n\r\n'
    files['labels_skeleton/a/0291-M.txt'] = ' ' + text(video(6, 2), '\n ').replace(' ', '  ')
    files['c/b/0002-L.txt'] = '\ufeff32,2,4,2\r\n\r\n 51, 3 ,8 , 1 \r\n\r\n'.encode()
    files['Split/Cross_subject.txt'] = (
        'TRAINING\r\n0002-l.txt,0002-M ,\r\nTesting videos\r\n 0291-M\r\n'
    )
    check_source(reader(tmp_path, files))


def test_part_two(tmp_path):
    files = {
        'skeleton/A01N02-R.txt': text(video(5)),
        'label/A01N02-R.txt': '51,1,3\n12,2,5\n',
        'skeleton/A26N13-L.txt': text(video(5)),
        'label/A26N13-L.txt': '4,4,5,2\n',
        'cross_subject_v2.txt': LISTS.format('A26N13-L', 'A01N02-R'),
    }
    sequences, problems = outcome(reader(tmp_path / 'v2', files, PKUMMD2))
    assert problems == [] and list(sequences) == ['A01N02-R_001', 'A01N02-R_002', 'A26N13-L_001']
    assert [
        (s['label'], s['subject'], s['camera'], s['total_frames'], list(s['splits']))
        for s in sequences.values()
    ] == [(50, 2, 3, 3, ['xsub_val']), (11, 2, 3, 4, ['xsub_val']), (3, 13, 1, 2, ['xsub_train'])]
    both = reader(
        tmp_path / 'both', {**source(), **files, 'README.txt': 'notes', 'Data/0002-X.txt': '1'}
    )
    check_source(both)
    assert {reason: sorted(names) for reason, names in both.left_out.items()} == {
        'split file that lists no video of pku_mmd_v1': ['cross_subject_v2.txt'],
        'not named like a video of pku_mmd_v1': [
            'Data/0002-X.txt',
            'README.txt',
            'label/A01N02-R.txt',
            'label/A26N13-L.txt',
            'skeleton/A01N02-R.txt',
            'skeleton/A26N13-L.txt',
        ],
    }


def test_clipped_intervals_and_bodies(tmp_path):
    values = video(6, 2)
    values[:3, 75:], values[3:, :75] = 0, 0  # the first body in frames 1 to 3, the second in 4 to 6
    values[5] = 0
    files = source(
        **{
            SKELETON.format('0002-L'): text(values),
            LABEL.format('0002-L'): '1,5,900,2\n2,1,3,2\n3,2,4,2\n',
        }
    )
    sequences, problems = outcome(reader(tmp_path, files))
    assert problems == []
    np.testing.assert_allclose(
        sequences['0002-L_001']['keypoint'][:, :, 0, 0], [[0, 0], [5.075, 0]]
    )
    np.testing.assert_allclose(sequences['0002-L_002']['keypoint'][:, :, 0, 0], [[1, 2, 3]])
    np.testing.assert_allclose(
        sequences['0002-L_003']['keypoint'][:, :, 0, 0], [[2, 3, 0], [0, 0, 4.075]]
    )


@pytest.mark.parametrize(
    'line, problem',
    [
        ('1,2,4,2,5', 'more than 4 values'),
        ('1,4925,4036,2', 'the end 4036 is not after the start 4925'),
        ('1,3,3,2', 'the end 3 is not after the start 3'),
        ('1,9,12,2', 'the start 9 is beyond the 8 frames of the video'),
        ('0,2,4,2', 'action is 0; it must be 1 to 51'),
        ('52,2,4,2', 'action is 52; it must be 1 to 51'),
        ('1,-2,4,2', 'start is -2; it must be 0 to 50000'),
        ('1,2,1000000000,2', 'end is 1000000000; it must be 0 to 50000'),
        ('1,2', 'end is missing or not a whole number'),
        ('1,2,nan,2', 'end is missing or not a whole number'),
        ('1,2.5,4,2', 'start is missing or not a whole number'),
        ('wave,2,4,2', 'action is missing or not a whole number'),
        ('#', 'action is missing or not a whole number'),
    ],
)
def test_bad_line_costs_only_its_interval(tmp_path, line, problem):
    name = LABEL.format('0002-L')
    sequences, problems = outcome(
        reader(tmp_path, source(**{name: f'32,2,4,2\n{line}\n51,3,8,1\n'}))
    )
    assert list(sequences) == ['0002-L_001', '0002-L_003', '0291-M_001']
    assert problems == [f'{tmp_path / name}: line 2: {problem}']
    np.testing.assert_allclose(sequences['0002-L_003']['keypoint'][0, :, 0, 0], [3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize(
    'frame, broken',
    [
        (7, lambda row: row[:-4]),
        (7, lambda row: row.replace('7.003', 'x')),
        (7, lambda row: row.replace('7.003', 'nan')),
        (7, lambda row: row.replace('7.003', '1e39')),
        (7, lambda row: ''),
        (8, lambda row: row[:200]),
    ],
)
def test_bad_frame_costs_only_intervals_with_it(tmp_path, frame, broken):
    rows, name = text(video(8)).splitlines(), SKELETON.format('0002-L')
    rows[frame - 1] = broken(rows[frame - 1])
    sequences, problems = outcome(reader(tmp_path, source(**{name: '\n'.join(rows)})))
    assert list(sequences) == ['0002-L_001', '0291-M_001']
    assert problems == [
        f'{tmp_path / LABEL.format("0002-L")}: line 2: its skeletons {tmp_path / name}: '
        f'line {frame}: a frame needs 150 finite numbers'
    ]


@pytest.mark.parametrize(
    'content, problem',
    [
        (text(np.hstack([video(8), video(8)])), 'line 1: more than 150 values'),
        (bytes(range(256)) * 400, 'is not plain text'),
        ('', 'the start 2 is beyond the 0 frames'),
        ('1\n' * 100_000, 'has 100000 lines; the limit is 50000'),
        (text(video(8)[:, :75]), 'line 2: a frame needs 150 finite numbers'),
        (text(0 * video(8)), 'no body in frames 2 to 4'),
    ],
)
def test_bad_skeleton_file(tmp_path, content, problem, monkeypatch):
    read = []
    monkeypatch.setattr(
        pku_mmd,
        'parse_text',
        lambda *args, parse=pku_mmd.parse_text: read.append(1) or parse(*args),
    )
    sequences, problems = outcome(reader(tmp_path, source(**{SKELETON.format('0002-L'): content})))
    assert list(sequences) == ['0291-M_001'] and len(problems) == 2
    assert (
        problems[0].startswith(f'{tmp_path / LABEL.format("0002-L")}: line 1: ')
        and problem in problems[0]
    )
    assert len(read) == 2  # each video once, the damaged one too


@pytest.mark.parametrize(
    'changed, problem',
    [
        (
            {LABEL.format('0002-L'): None},
            f'{SKELETON.format("0002-L")}: has no label file of its name',
        ),
        (
            {SKELETON.format('0002-L'): None},
            f'{LABEL.format("0002-L")}: has no skeleton file of its name',
        ),
        ({LABEL.format('0002-L'): ' \n\n'}, f'{LABEL.format("0002-L")}: is empty'),
        ({LABEL.format('0002-L'): b'\0,\1,\2\xff'}, f'{LABEL.format("0002-L")}: is not plain text'),
        (
            {LABEL.format('0002-L'): '1,2,4,2\n' + '1,' * 17},
            f'{LABEL.format("0002-L")}: line 2: more than 16 values',
        ),
        ({'Label1pers/0002-L.txt': '7,2,4,2\n'}, 'is a second file of the same kind and name as'),
    ],
)
def test_bad_pair_of_files(tmp_path, changed, problem):
    sequences, problems = outcome(reader(tmp_path, source(**changed)))
    assert list(sequences) == ['0291-M_001'] and len(problems) == 1 and problem in problems[0]


@pytest.mark.parametrize(
    'changed, problem',
    [
        ({SUBJECT: None, VIEW: None}, 'no split file of pku_mmd_v1; put cross-subject.txt'),
        (
            {SUBJECT: LISTS.format('A01N01-L', 'A01N02-L'), VIEW: b'\0\xff\xfe junk'},
            'no split file of pku_mmd_v1',
        ),
        (
            {SUBJECT: LISTS.format('0002-L', '0291-M, 0002-L')},
            'lists 0002-L for training and for validation',
        ),
        (
            {VIEW: 'Training videos: \n0002-L, 0291-M'},
            'cross-view.txt: has no list of validation videos',
        ),
        ({VIEW: LISTS.format('', '0002-L')}, 'cross-view.txt: has no list of training videos'),
        ({VIEW: LISTS.format('0002-L', '0291-M') * 5000}, 'cross-view.txt: has .* bytes'),
        (
            {name.format(v): None for name in (SKELETON,) for v in ('0002-L', '0291-M')},
            'no skeletons .* Skeleton.7z',
        ),
        (
            {name.format(v): None for name in (LABEL,) for v in ('0002-L', '0291-M')},
            'no labels .* Label_PKUMMD.7z',
        ),
    ],
)
def test_source_that_lacks_something(tmp_path, changed, problem):
    with pytest.raises(ValueError, match=problem):
        reader(tmp_path, source(**changed)).recordings()


def test_without_one_protocol(tmp_path):
    data = reader(tmp_path, source(**{VIEW: None}))
    assert [list(data.splits(s)) for s in outcome(data)[0].values()] == [['xsub_train']] * 2 + [
        ['xsub_val']
    ]


def test_prepare(tmp_path):
    files = source(
        **{
            LABEL.format('0002-L'): '32,2,4,2\n1,4925,4036,2\n51,3,8,1\n',
            LABEL.format('0300-R'): '1,1,2,2\n',
        }
    )
    out = tmp_path / 'pku.pkl'
    summary = prepare.prepare(reader(tmp_path / 'source', files), str(out), workers=1)
    data = load_annotations(str(out))
    assert [a['frame_dir'] for a in data['annotations']] == [
        '0002-L_001',
        '0002-L_003',
        '0291-M_001',
    ]
    assert data['split'] == dict(
        xsub_train=['0002-L_001', '0002-L_003'],
        xview_val=['0002-L_001', '0002-L_003'],
        xsub_val=['0291-M_001'],
        xview_train=['0291-M_001'],
    )
    np.testing.assert_allclose(data['annotations'][1]['keypoint'][0, :, 0, 0], [3, 4, 5, 6, 7, 8])
    assert 'splits' not in data['annotations'][0]
    assert len(summary.problems) == 2 and 'line 2: the end 4036' in summary.problems[0]
    assert 'has no skeleton file' in summary.problems[1]
