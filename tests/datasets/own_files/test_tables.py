"""Tables of numbers as people have them: each form against the same coordinates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimclr_mm.datasets.own_files.sequences import check_sequence
from aimclr_mm.datasets.own_files.tables import read_table
from aimclr_mm.datasets.readers import RecordingError
from aimclr_mm.skeletons import COCO17, MEDIAPIPE33, MEDIAPIPE33_2D, NTU25, Layout

FRAMES = 4


def pose(layout: Layout = NTU25, people: int = 1, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Meters with four decimals, both signs, (T, M, V, C)."""
    shape = FRAMES, people, layout.num_joints, channels
    return np.random.default_rng(seed).normal(size=shape).round(4)


def read(text: str | bytes, layout: Layout = NTU25) -> np.ndarray:
    """Coordinates (M, T, V, C) of a table, as float64."""
    content = text if isinstance(text, bytes) else text.encode()
    array = read_table(content, layout)['keypoint']
    return check_sequence(array, None, layout)[0].astype(np.float64)


def lines(x: np.ndarray, separator: str = ',', decimal: str = '.', digits: int = 4) -> str:
    """One line per frame."""
    rows = x.reshape(len(x), -1)
    texts = [[f'{value:.{digits}f}'.replace('.', decimal) for value in row] for row in rows]
    return ''.join(separator.join(row) + '\n' for row in texts)


def by_joint(x: np.ndarray, front=lambda frame, joint: '') -> str:
    """One line per joint, with cells in front of the coordinates."""
    return ''.join(
        front(frame, joint) + ','.join(map(str, values)) + '\n'
        for frame, joints in enumerate(x[:, 0])
        for joint, values in enumerate(joints)
    )


def same(result: np.ndarray, x: np.ndarray) -> None:
    np.testing.assert_allclose(result, x.swapaxes(0, 1), atol=2e-7)


@settings(max_examples=30, deadline=None)
@given(
    people=st.integers(1, 3),
    separator=st.sampled_from([';', '\t', ' ', '   ', '; ', ',', ', ']),
    decimal=st.sampled_from('.,'),
    start=st.sampled_from(['', '\ufeff', '\ufeffx\n', '# positions\n']),
    newline=st.sampled_from(['\n', '\r\n', '\r']),
    digits=st.integers(4, 9),
    front=st.sampled_from(['none', 'index', 'time']),
    seed=st.integers(0, 99),
)
def test_any_separator_and_decimal_sign(
    people, separator, decimal, start, newline, digits, front, seed
):
    x = pose(people=people, seed=seed)
    text = lines(x, separator, decimal, digits)
    if front != 'none':
        step = 1 if front == 'index' else 1 / 30
        numbers = [f'{row * step:.6g}'.replace('.', decimal) for row in range(FRAMES)]
        text = ''.join(f'{n}{separator}{row}\n' for n, row in zip(numbers, text.splitlines()))
    content = (start + text).replace('\n', newline).encode()
    if decimal == ',' and separator.strip() == ',':
        with pytest.raises(RecordingError, match='commas|comma'):
            read(content)
    else:
        same(read(content), x)


def test_commas_for_both_are_refused_by_that_word():
    with pytest.raises(RecordingError, match='commas as decimal signs and between the numbers'):
        read(lines(pose(), ',', ','))
    with pytest.raises(RecordingError, match='commas as decimal signs'):
        read(lines(np.abs(pose()) % 0.09, ',', ','))  # no sign, but 0,0xxx


def test_whole_numbers_between_commas_are_not_decimals():
    pixels = np.arange(FRAMES * 34.0).reshape(FRAMES, 1, 17, 2) + 1
    same(read(lines(pixels, ',', digits=0), COCO17), pixels)
    millimeters = (pose() * 1000).round()
    same(read(lines(millimeters, ',', digits=0)), millimeters)


def test_quoted_decimal_commas():
    quoted = '\n'.join(
        ','.join(f'"{cell}"' for cell in line.split(';'))
        for line in lines(pose(), ';', ',').splitlines()
    )
    same(read(quoted), pose())


def test_decimal_points_and_commas_in_one_table_are_refused():
    text = lines(pose(), ';')
    with pytest.raises(RecordingError, match="has commas between numbers .* by ';', such as '0,5'"):
        read(text + text.replace(text.split(';')[3], '0,5', 1))


@pytest.mark.parametrize('name', ['', 'time', 'Timestamp', 'Unnamed: 0', 'frame_id', '#'])
def test_named_columns_in_front(name):
    x = pose()
    header = ','.join([name, *(f'j{joint}_{axis}' for joint in range(25) for axis in 'xyz')])
    rows = [f'12:30:{row:02},{line}' for row, line in enumerate(lines(x).splitlines())]
    same(read('\n'.join([header, *rows])), x)


def test_index_of_pandas():
    x = pose()
    head = ',' + ','.join(map(str, range(75)))
    rows = [f'{row},{line}' for row, line in enumerate(lines(x).splitlines())]
    same(read('\n'.join([head, *rows])), x)


def test_a_column_in_front_must_count():
    rows = [f'{row},{line}' for row, line in zip([3, 1, 2, 7], lines(pose()).splitlines())]
    with pytest.raises(RecordingError, match='has 76 values a frame; 25 joints .* make 75'):
        read('\n'.join(rows))


@pytest.mark.parametrize(
    'front',
    [
        lambda frame, joint: '',
        lambda frame, joint: f'{joint},',
        lambda frame, joint: f'{joint + 1},',
        lambda frame, joint: f'{frame},{joint},',
        lambda frame, joint: f'{joint},{frame / 30},',
    ],
)
def test_a_line_a_joint(front):
    x = pose()
    same(read(by_joint(x, front)), x)
    spaced = by_joint(x, front).splitlines()
    blocks = ['\n'.join(spaced[start : start + 25]) for start in range(0, 100, 25)]
    same(read('\n\n'.join(blocks)), x)


def test_landmarks_of_mediapipe_a_line_each():
    """frame, name and number in front; visibility is the score."""
    x = pose(MEDIAPIPE33, channels=4)
    x[..., 3] = np.abs(x[..., 3])
    names = MEDIAPIPE33.joints
    text = 'frame,landmark,landmark_id,x,y,z,visibility\n'
    text += by_joint(x, lambda frame, joint: f'{frame},{names[joint]},{joint},')
    array = read_table(text.encode(), MEDIAPIPE33)['keypoint']
    np.testing.assert_array_equal(array, x.swapaxes(0, 1))


@given(order=st.permutations(range(25)))
@settings(max_examples=20, deadline=None)
def test_lines_of_joints_in_any_order_by_their_names(order):
    """As for columns, names of the layout in any way of writing tell the order."""
    x = pose()
    names = [''.join(word.capitalize() for word in NTU25.joints[j].split('_')) for j in order]
    text = 'frame,joint,x,y,z\n'
    text += by_joint(x[:, :, list(order)], lambda frame, joint: f'{frame},{names[joint]},')
    np.testing.assert_allclose(read(text), x.swapaxes(0, 1))


def test_lines_of_joints_with_names_that_contradict_the_layout():
    names = [*NTU25.joints[1:], 'tail']
    text = 'joint,x,y,z\n' + by_joint(pose(), lambda frame, joint: f'{names[joint]},')
    with pytest.raises(RecordingError, match="names joint 1 'spine_mid', where .*'spine_base'"):
        read(text)


def test_incomplete_lines_of_joints():
    text = by_joint(pose(), lambda frame, joint: f'{joint},')
    with pytest.raises(
        RecordingError, match='has 3 values in a line, one joint, and 98 such lines'
    ):
        read('\n'.join(by_joint(pose()).splitlines()[:-2]))
    swapped = text.splitlines()
    swapped[3], swapped[4] = swapped[4], swapped[3]
    with pytest.raises(RecordingError, match='not in order: their numbers must be 0 to 24, or 1'):
        read('\n'.join(['joint,x,y,z', *swapped]))


def test_channels_by_name():
    """x, y, z and visibility of MediaPipe; two coordinates leave z out."""
    x = pose(MEDIAPIPE33, channels=4)
    head = ','.join(f'{j}_{c}' for j in MEDIAPIPE33.joints for c in ('x', 'y', 'z', 'visibility'))
    text = head + '\n' + lines(x)
    array = read_table(text.encode(), MEDIAPIPE33_2D)['keypoint']
    assert np.array_equal(array.reshape(FRAMES, 33, 3), x[:, 0][..., [0, 1, 3]])
    array = read_table(text.encode(), MEDIAPIPE33)['keypoint']
    assert np.array_equal(array.reshape(FRAMES, 33, 4), x[:, 0])


def test_all_x_then_all_y():
    x = pose()
    head = ','.join(f'{axis}{joint}' for axis in 'XYZ' for joint in range(25))
    same(read(head + '\n' + lines(x[:, 0].transpose(0, 2, 1))), x)


def test_joints_by_name():
    """Columns of another order are brought into that of the layout; contradictions are refused."""
    x = pose()
    order = np.random.default_rng(1).permutation(25)
    camel = [''.join(part.title() for part in joint.split('_')) for joint in NTU25.joints]
    head = ';'.join(f'{camel[joint]}.{axis}' for joint in order for axis in 'XYZ')
    same(read(head + '\n' + lines(x[:, :, order], ';')), x)
    wrong = head.replace('SpineMid', 'Belly')
    with pytest.raises(RecordingError, match="names joint 2 .* where .* ntu25 has 'spine_mid'"):
        read(wrong + '\n' + lines(x[:, :, order], ';'))


def test_missing_values():
    x = pose()
    rows = lines(x).splitlines()
    cells = rows[1].split(',')
    cells[30:33] = '', 'NaN', ' '
    rows[1] = ','.join(cells)
    rows[2] = ',' * 74
    result = read('\n'.join([*rows[:3], '', rows[3]]))
    x = np.insert(x, 3, np.nan, axis=0)
    x[1, 0, 10], x[2] = np.nan, np.nan
    same(result, x)


def test_utf16_is_named():
    with pytest.raises(RecordingError, match='UTF-16.*save it as UTF-8'):
        read(lines(pose()).encode('utf-16'))


def test_layouts_with_as_many_values_are_named():
    with pytest.raises(RecordingError, match='51 values .*; the layout may be coco17'):
        read(lines(pose(COCO17)))
