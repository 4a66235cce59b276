"""Layouts in YAML files: permitted forms, and refused files with their messages."""

import sys
from dataclasses import asdict

import pytest

from aimclr_mm.skeletons import COCO17, LAYOUTS, get_layout

BONES = """
bones: {left_shoulder: chest, chest: chest, right_shoulder: chest,
        left_hand: left_shoulder, right_hand: right_shoulder}
center: chest
"""
LISTS = """
name: arms
joints: [left_shoulder, chest, right_shoulder, left_hand, right_hand]
parents: [chest, chest, chest, left_shoulder, right_shoulder]
center: chest
dims: 2
shoulders: [left_hand, right_hand]
extra_edges: [[left_hand, chest]]
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a layout file and returns its path."""

    def writer(text, name='arms.yaml') -> str:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(tmp_path / name)

    return writer


@pytest.mark.parametrize('name', ['arms.yaml', 'arms.yml', 'ARMS.YAML'])
def test_all_fields(write, name):
    layout = get_layout(write(LISTS, name))
    assert (layout.name, layout.center_index, layout.dims, layout.shoulder_indices) == (
        'arms',
        1,
        2,
        (3, 4),
    )
    assert layout.joints == ('left_shoulder', 'chest', 'right_shoulder', 'left_hand', 'right_hand')
    assert layout.bones == (1, 1, 1, 0, 2) and layout.mirror == (2, 1, 0, 4, 3)
    assert layout.edges == ((0, 1), (2, 1), (3, 1), (4, 2))
    assert get_layout(asdict(layout)) == layout and hash(layout)


def test_bones_in_the_order_of_the_data(write):
    layout = get_layout(write(BONES))
    assert layout.joints == ('left_shoulder', 'chest', 'right_shoulder', 'left_hand', 'right_hand')
    assert layout.bones == (1, 1, 1, 0, 2)
    assert (layout.name, layout.dims, layout.shoulder_indices, layout.extra_edges) == (
        'custom',
        3,
        (0, 2),
        (),
    )


@pytest.mark.parametrize(
    'text',
    [
        BONES.replace('\n', '\r\n'),
        b'\xef\xbb\xbf' + BONES.encode(),
        '# arms\n---' + BONES,
        '\n'.join(
            [
                'center: chest',
                'bones:',
                '  left_shoulder: chest',
                '  chest: chest',
                '  right_shoulder: chest',
                '  left_hand: left_shoulder',
                '  "right_hand": right_shoulder  # the last',
            ]
        ),
    ],
    ids=['crlf', 'bom', 'comment', 'block'],
)
def test_ways_of_writing(write, text):
    assert get_layout(write(text)) == get_layout(write(BONES, 'other.yaml'))


def test_a_layout_of_the_table_survives_a_file(write):
    import yaml

    fields = {
        key: [list(item) if isinstance(item, tuple) else item for item in value]
        if isinstance(value, tuple)
        else value
        for key, value in asdict(COCO17).items()
    }
    assert get_layout(write(yaml.safe_dump(fields))) == COCO17


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'no fields.*center: spine'),
        ('- a\n- b', 'no fields'),
        ('arms', 'no fields'),
        ('center: [', 'not readable YAML'),
        (b'\xff\xfe\xff', 'not readable YAML'),
        ('a: \0', 'not readable YAML'),
        ('{' * 9999, 'not readable YAML'),
        ('a: !!int ""', 'not readable YAML'),
        ('a: !!python/object/apply:os.getcwd []', 'not readable YAML.*python/object'),
        ('a: 1\n---\nb: 2', 'not readable YAML'),
        ('a: &a {x: 1}\nb: {<<: [*a, *a]}', r'alias \(\*name\)'),
        ('joints: &j [chest, *j]', 'alias'),
        (
            BONES + 'color: red',
            "unknown field 'color'; known are .*'bones', 'joints', 'parents', 'center', 'dims'",
        ),
        (BONES + '3: 4', "unknown field '3'"),
        (BONES + 'joints: [chest]', "both 'bones' and 'joints'"),
        (BONES + 'center: chest', "'center' twice"),
        (BONES.replace('}', ', chest: left_hand}'), "'chest' twice"),
        (BONES.replace('center: chest', ''), "no 'center'"),
        (LISTS.replace('parents', '#'), "no 'parents'.*or bones"),
        (BONES.replace('left_hand:', 'no:'), "'bones' is .*False.*joint: parent.*quote"),
        (BONES.replace('left_hand: left_shoulder', 'left_hand'), "'bones' is .*joint: parent"),
        (LISTS.replace('[left_shoulder, chest', '[1, chest'), "'joints' is .*list of names"),
        (LISTS.replace('center: chest', 'center: [chest]'), "'center' is .*must be a name"),
        (LISTS.replace('dims: 2', 'dims: 4'), "'dims' is '4'; it must be 2 or 3"),
        (LISTS.replace('dims: 2', 'dims: 2.0'), "'dims' is '2.0'"),
        (LISTS.replace('dims: 2', 'dims: yes'), "'dims' is"),
        (
            LISTS.replace('[left_hand, right_hand]', '[left_hand]'),
            "'shoulders' is .*list of two names",
        ),
        (
            LISTS.replace('[[left_hand, chest]]', '[left_hand, chest]'),
            "'extra_edges' is .*list of pairs",
        ),
        (LISTS.replace('name: arms', 'name: 3'), "'name' is '3'"),
        (LISTS.replace('parents: [chest', 'parents: [tail'), r"unknown joints \['tail'\]"),
        (LISTS.replace('parents: [chest, ', 'parents: ['), '5 joints but 4 parents'),
        (BONES.replace('chest: chest', 'chest: left_hand'), 'no root'),
        (BONES.replace('right_hand', 'right_fist'), 'without a mirror image'),
        ('#' * 2**16 + '\n' + BONES, 'more than 65536 bytes'),
    ],
)
def test_refused_with_file_and_field(write, text, message):
    path = write(text)
    with pytest.raises(ValueError, match=f'(?s)layout file {path!r}.*{message}'):
        get_layout(path)


def test_missing_file(tmp_path):
    path = str(tmp_path / 'none.yaml')
    with pytest.raises(FileNotFoundError, match=f'{path!r} does not exist; the current folder is '):
        get_layout(path)
    (tmp_path / 'folder.yml').mkdir()
    with pytest.raises(FileNotFoundError):
        get_layout(str(tmp_path / 'folder.yml'))


def test_names_do_not_need_yaml(monkeypatch):
    monkeypatch.setitem(sys.modules, 'yaml', None)
    assert all(get_layout(name) is layout for name, layout in LAYOUTS.items())
    with pytest.raises(ValueError, match='path of a .yaml file'):
        get_layout('arms')
