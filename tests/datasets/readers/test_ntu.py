"""NTU RGB+D: generated files in the original format, with its quirks, against known values."""

import re
import zipfile

import numpy as np
import pytest

from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import NTU60, NTU120, RecordingError, list_files
from aimclr_mm.datasets.readers.ntu import choose_bodies, missing, read_bodies

from .ntu_files import expected, skeleton_file

NAME = 'S001C002P001R001A001.skeleton'

ONE, TWO, GAPS = [[1]] * 4, [[1, 2]] * 3, [[], [1], [2, 1], [], [3, 1, 2], [1]]


@pytest.mark.parametrize(
    'frames, people', [(ONE, 1), (TWO, 2), (GAPS, 3)], ids=['one', 'two', 'gaps and new ids']
)
@pytest.mark.parametrize(
    'end, blank', [('\n', ''), ('\r\n', ''), ('\r\n', ' '), ('\n', '\t'), ('\r', '')]
)
def test_bodies_by_place(frames, people, end, blank):
    keypoint = read_bodies(skeleton_file(frames, end, blank))
    assert keypoint.dtype == np.float32
    np.testing.assert_allclose(keypoint, expected(frames, people), rtol=2e-6, atol=1e-7)


def test_wide_blanks_and_blank_lines_at_the_end():
    content = re.sub(rb' ', b'  \t', skeleton_file(TWO)) + b'\r\n \r\n'
    np.testing.assert_allclose(read_bodies(content), expected(TWO, 2), rtol=2e-6, atol=1e-7)


def test_bodies_beyond_the_fourth_are_left_out():
    keypoint = read_bodies(skeleton_file([[1, 2, 3, 4, 5]] * 2))
    np.testing.assert_allclose(keypoint, expected([[1, 2, 3, 4]] * 2, 4), rtol=2e-6)


def spread(body: np.ndarray) -> float:
    """Return the motion of a body, with loops over frames and axes."""
    total = 0.0
    frames = [frame for frame in body if frame.sum() != 0]
    for axis in range(3):
        values = [float(joint[axis]) for frame in frames for joint in frame]
        mean = sum(values) / len(values) if values else 0
        total += (
            (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5 if values else 0
        )
    return total


@pytest.mark.parametrize('frames', [GAPS, [[1, 3, 2, 4]] * 5, [[2, 1]] * 3, ONE])
def test_two_rules_for_bodies(frames):
    bodies = read_bodies(skeleton_file(frames))
    first, motion = choose_bodies(bodies, 'first'), choose_bodies(bodies, 'motion')
    np.testing.assert_array_equal(first, bodies[:2])
    order = sorted(range(len(bodies)), key=lambda place: -spread(bodies[place]))
    np.testing.assert_array_equal(motion, bodies[order[:2]])


def test_rules_differ_where_they_should():
    bodies = read_bodies(skeleton_file([[1, 3, 2]] * 4))  # body 2 moves three times as far
    np.testing.assert_array_equal(choose_bodies(bodies, 'motion')[0], bodies[2])
    np.testing.assert_array_equal(choose_bodies(bodies, 'first')[0], bodies[0])


def test_second_person_of_zeros_is_left_out_and_the_first_keeps_its_place():
    for absent, people in ((0, 2), (1, 1)):
        bodies = np.ones((2, 3, 25, 3), np.float32)
        bodies[absent] = 0
        np.testing.assert_array_equal(choose_bodies(bodies, 'first'), bodies[:people])


def broken(line: int, text: str | None) -> bytes:
    """Return a file of three frames with one body, where a line (1-based) differs or is missing."""
    lines = skeleton_file([[1]] * 3, end='\n').decode().split('\n')
    lines[line - 1 : line] = [] if text is None else [text]
    return '\n'.join(lines).encode()


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'is empty'),
        (b'\n\n', 'is empty'),
        (broken(1, '0'), 'line 1: number of frames is 0; it must be 1 to'),
        (broken(1, '-3'), 'line 1: number of frames is -3'),
        (broken(1, '1000000000'), 'line 1: number of frames is 1000000000'),
        (broken(1, '1e300'), r'line 1: number of frames is 1e\+300;'),
        (broken(1, 'three'), 'line 1: number of frames is missing'),
        (broken(1, '2.5'), 'line 1: number of frames is missing or not a whole number'),
        (broken(1, '2'), 'line 58: the file goes on after its 2 frames'),
        (broken(1, '4'), 'line 86: the file ends before the number of bodies'),
        (broken(2, '1000000000'), 'line 2: number of bodies is 1000000000'),
        (broken(2, '-1'), 'line 2: number of bodies is -1'),
        (broken(4, '20'), 'line 4: number of joints is 20'),
        (broken(4, '26'), 'line 4: number of joints is 26'),
        (broken(4, 'nan'), 'line 4: number of joints is missing'),
        (broken(9, None), 'line 30: number of bodies is missing'),
        (
            broken(9, 'a b c 1 1 1 1 1 1 1 1 2'),
            'line 9: the coordinates of a joint must be three finite',
        ),
        (broken(9, '1 nan 2 1 1 1 1 1 1 1 1 2'), 'line 9: the coordinates'),
        (broken(9, '1 2 inf 1 1 1 1 1 1 1 1 2'), 'line 9: the coordinates'),
        (broken(9, '1 2 3'), 'line 9: has fewer than 12 values; a joint has 12'),
        (broken(9, ''), 'line 9: has fewer than 12 values'),
        (broken(9, '1 2 3 4 5 6 7 8 9 10 11 12 13'), 'line 9: more than 12 values'),
        (b'\x00\x01\x02' * 99, 'not plain text'),
        (b'\xff\xd8\xff\xe0' * 99, 'not plain text'),
        (b'PK\x03\x04' * 30, 'line 1'),
        (b'1' * 100_000, 'line 1: number of frames'),
        (b'1 ' * 50_000, 'line 1: more than 12 values'),
        (b'"' * 1000, 'line 1'),
        (b'3\n0\n0\n0\n', 'no body in any frame'),
        (b'0 1', 'line 1'),
        (b'0 1\n', 'line 1'),
        (b'1 1\n', 'line 1'),
        (b'0\n1\n', 'line 1: number of frames is 0'),
    ],
)
def test_broken_file_says_where(content, message):
    with pytest.raises(RecordingError, match=message):
        read_bodies(content)


@pytest.mark.parametrize('share', [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_file(share):
    content = skeleton_file([[1, 2]] * 3)
    with pytest.raises(RecordingError, match='truncated|a joint has|missing|number of|goes on'):
        read_bodies(content[: int(len(content) * share)])


def test_cut_within_the_last_number_but_one_is_seen():
    content = skeleton_file(ONE, end='\n')
    with pytest.raises(RecordingError, match='has fewer than 12 values'):
        read_bodies(content[:-3])


def test_list_of_missing_recordings():
    assert len(missing()) == 535 and sum(name < 'S018' for name in missing()) == 302
    assert 'S001C002P005R002A008' in missing() and 'S001C001P001R001A001' not in missing()
    assert all(re.fullmatch(r'S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}', name) for name in missing())


def put(folder, names, form: str) -> list[str]:
    """Write files of these names to a folder, an archive, or two archives in a folder."""
    if form == 'folder':
        for name in names:
            (folder / 'nturgb+d_skeletons').mkdir(exist_ok=True)
            (folder / 'nturgb+d_skeletons' / name).write_bytes(skeleton_file(GAPS))
        return [str(folder)]
    archives = [folder / f'{part}.zip' for part in range(2 if form == 'archives' else 1)]
    for index, path in enumerate(archives):
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name in names[index :: len(archives)]:
                archive.writestr(f'nturgb+d_skeletons/{name}', skeleton_file(GAPS))
    return [str(archives[0])] if form == 'archive' else [str(folder)]


NAMES = [
    'S001C002P001R001A001',
    'S001C001P003R001A060',
    'S017C003P040R002A031',
    'S001C002P005R002A008',
    'S018C001P042R001A061',
    'S020C002P045R001A120',
    'S001C001P038R001A002',
]


@pytest.mark.parametrize('form', ['folder', 'archive', 'archives'])
def test_data_set(tmp_path, form):
    (tmp_path / 'source').mkdir()
    source = put(tmp_path / 'source', [f'{name}.skeleton' for name in NAMES], form)
    summaries = {}
    for kind in (NTU60, NTU120):
        summaries[kind] = prepare(
            kind(list_files(source, kind.pattern)), str(tmp_path / f'{kind.name}.pkl'), workers=1
        )
    small, large = (read_pickle(str(tmp_path / f'{name}.pkl')) for name in ('ntu60', 'ntu120'))
    found = {item['frame_dir']: item for item in small['annotations']}
    assert set(found) == {NAMES[i] for i in (0, 1, 2, 6)}
    assert {name: found[name]['label'] for name in found} == {
        NAMES[0]: 0,
        NAMES[1]: 59,
        NAMES[2]: 30,
        NAMES[6]: 1,
    }
    np.testing.assert_allclose(found[NAMES[0]]['keypoint'], expected(GAPS, 2), rtol=2e-6, atol=1e-7)
    assert {name: set(members) for name, members in small['split'].items()} == dict(
        xsub_train={NAMES[0], NAMES[6]},
        xsub_val={NAMES[1], NAMES[2]},
        xview_train={NAMES[0], NAMES[2]},
        xview_val={NAMES[1], NAMES[6]},
    )
    assert {name: set(members) for name, members in large['split'].items()} == dict(
        xsub_train={NAMES[0], NAMES[5], NAMES[6]},
        xsub_val={NAMES[1], NAMES[2], NAMES[4]},
        xset_train={NAMES[4], NAMES[5]},
        xset_val={NAMES[0], NAMES[1], NAMES[2], NAMES[6]},
    )
    assert [sorted(map(len, s.left_out.values())) for s in summaries.values()] == [[1, 2], [1]]
    assert small['metainfo'] == dict(
        dataset='ntu60', layout='ntu25', preprocessed=False, bodies='first'
    )


@pytest.mark.parametrize(
    'name, message',
    [
        ('S001C001P001R001A061.skeleton', 'action 61 in its name; ntu60 has 1 to 60'),
        ('S001C001P001R001A000.skeleton', 'action 0'),
        ('hello.skeleton', 'is not named like'),
        ('S001C001P001R001A001_2.skeleton', 'is not named like'),
    ],
)
def test_wrong_names(tmp_path, name, message):
    put(tmp_path, [NAME, name], 'folder')
    summary = prepare(
        NTU60(list_files([str(tmp_path)], '*.skeleton')), str(tmp_path / 'out.pkl'), workers=1
    )
    assert summary.sequences == 1 and len(summary.problems) == 1
    assert name in summary.problems[0] and message in summary.problems[0]


def test_unknown_rule():
    with pytest.raises(ValueError, match="bodies='last'; known are"):
        NTU60([], bodies='last')
