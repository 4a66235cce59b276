"""Manifests: permitted forms, refused ones with their messages, and the resulting file."""

import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets import SkeletonDataset
from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.own_files.manifest import ManifestReader
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import RecordingError, list_files
from aimclr_mm.skeletons import COCO17, get_layout

ROWS = [
    dict(path='walk/a.npy', label='walk', split='train;all', subject='3', camera='left', name=''),
    dict(path='b.csv', label='jump', split='val', subject='P7', camera='2', name='second'),
    dict(path='walk/c.json', label='', split='', subject='', camera='', name=''),
    dict(path='missing.npy', label='sit', split='train', subject='', camera='', name=''),
]
LAYOUT = """
bones: {left_shoulder: chest, chest: chest, right_shoulder: chest}
center: chest
dims: 2
"""


def pose(start: float, frames: int = 2, joints: int = 25) -> np.ndarray:
    """Return a pose sequence (T, V, 3) of different numbers."""
    return start + np.arange(frames * joints * 3).reshape(frames, joints, 3) / 4


def write(
    folder: Path, content: str | bytes | list | None = None, name: str = 'manifest.csv'
) -> str:
    """Write the files that ROWS names, except the missing one, and a manifest."""
    (folder / 'walk').mkdir(exist_ok=True)
    np.save(folder / 'walk' / 'a.npy', pose(0))
    np.savetxt(folder / 'b.csv', pose(500, 3).reshape(3, 75), delimiter=',')
    (folder / 'walk' / 'c.json').write_text(json.dumps(pose(1000, 1).tolist()))
    if content is None:
        content = '\n'.join([','.join(ROWS[0]), *(','.join(row.values()) for row in ROWS)])
    content = json.dumps(content) if isinstance(content, list) else content
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / name)


def reader(path: str, unit: str = 'm', **options) -> ManifestReader:
    """Return a reader; the poses here are numbers, not the size of a person."""
    return ManifestReader(list_files([path], ManifestReader.pattern), unit=unit, **options)


def rows(path: str) -> list[tuple]:
    """Return the parsed rows of a manifest."""
    return [
        (item.file.name, item.label, item.splits, item.subject, item.camera, item.name)
        for item in reader(path).recordings()
    ]


EXPECTED = [
    ('walk/a.npy', 'walk', ('train', 'all'), 3, 'left', 'walk/a'),
    ('b.csv', 'jump', ('val',), 'P7', 2, 'second'),
    ('walk/c.json', '', (), None, None, 'walk/c'),
    ('missing.npy', 'sit', ('train',), None, None, 'missing'),
]


def test_through_prepare(tmp_path):
    path, out = write(tmp_path), str(tmp_path / 'out.pkl')
    summary = prepare(reader(path), out, workers=1)
    data = read_pickle(out)
    assert data['metainfo'] == dict(
        dataset='custom',
        layout='ntu25',
        missing='interpolate',
        unit='m',
        preprocessed=False,
        classes=['jump', 'sit', 'walk'],
    )
    assert data['split'] == dict(train=['walk/a'], all=['walk/a'], val=['second'])
    first, second, third = data['annotations']
    for item, expected in zip(data['annotations'], (pose(0), pose(500, 3), pose(1000, 1))):
        assert item['keypoint'].dtype == np.float32 and item['keypoint'].flags.c_contiguous
        np.testing.assert_array_equal(item.pop('keypoint'), expected[None])
    assert first == dict(frame_dir='walk/a', total_frames=2, label=2, subject=3, camera='left')
    assert second == dict(frame_dir='second', total_frames=3, label=0, subject='P7', camera=2)
    assert third == dict(frame_dir='walk/c', total_frames=1)
    assert summary.problems == [
        f'{path}, line 5 (missing.npy): file {tmp_path / "missing.npy"} does not exist'
    ]
    assert summary.splits == dict(train=1, all=1, val=1) and 'left out' not in str(summary)
    assert len(SkeletonDataset(out, [], ['train', 'val'], layout='ntu25')) == 2


def text(separator: str = ',', end: str = '\n', quote: str = '') -> str:
    """Return the manifest as CSV."""
    return (
        end.join(
            separator.join(quote + cell + quote for cell in line)
            for line in (ROWS[0], *(row.values() for row in ROWS))
        )
        + end
    )


def typed(row: dict) -> dict:
    """Return a row with the types of JSON: no empty cells, numbers and lists as such."""
    row = {key: int(value) if value.isdigit() else value for key, value in row.items() if value}
    return {**row, 'split': row['split'].split(';')} if 'split' in row else {**row, 'split': None}


@pytest.mark.parametrize(
    'name, content',
    [
        ('m.csv', text()),
        ('m.csv', text(end='\r\n')),
        ('m.csv', '\ufeff' + text(quote='"')),
        ('m.tsv', text('\t')),
        ('m.txt', text(', ')),
        ('m.csv', text(';', quote='"')),
        ('m.csv', text().replace('/', '\\')),
        ('m.csv', text().replace('path,label', ' Path ,LABEL') + '\n,,\n\n'),
        ('m.csv', text().replace('walk/a', './walk//a')),
        ('m.json', json.dumps(ROWS)),
        ('m.JSON', '\ufeff \n' + json.dumps(list(map(typed, ROWS)), indent=1)),
        ('m.jsonl', '\n'.join(json.dumps(row) for row in ROWS)),
        ('m.json', '\r\n\n'.join(map(json.dumps, map(typed, ROWS)))),
    ],
)
def test_ways_of_writing_a_manifest(tmp_path, name, content):
    assert rows(write(tmp_path, content, name)) == EXPECTED


def test_only_the_path_is_needed(tmp_path):
    assert rows(write(tmp_path, 'path\nb.csv')) == [('b.csv', '', (), None, None, 'b')]
    assert rows(write(tmp_path, 'label,path,split\n3,b.csv\n')) == [
        ('b.csv', '3', (), None, None, 'b')
    ]


def test_absolute_paths(tmp_path):
    write(tmp_path)
    (tmp_path / 'other').mkdir()
    path = write(tmp_path / 'other', f'path,name\n{tmp_path}/b.csv,x\n')
    custom = reader(path)
    np.testing.assert_array_equal(
        custom.read(*custom.recordings())[0]['keypoint'], pose(500, 3)[None]
    )


@pytest.mark.parametrize(
    'labels, numbers, classes',
    [
        (['2', '0', '10', ''], [2, 0, 10, None], []),
        (['b', 'a', 'b', ''], [1, 0, 1, None], ['a', 'b']),
        (['A12', 'A2', '1_0', 'Zed'], [1, 2, 0, 3], ['1_0', 'A12', 'A2', 'Zed']),
        (['', '', '', ''], [None] * 4, []),
        (['007', '7', '999999', '0'], [7, 7, 999999, 0], []),
    ],
)
def test_labels(tmp_path, labels, numbers, classes):
    custom = reader(
        write(
            tmp_path,
            'path,name,label\n' + ''.join(f'b.csv,{i},{x}\n' for i, x in enumerate(labels)),
        )
    )
    recordings = custom.recordings()
    assert [
        custom.read(item)[0].get('label') for item in recordings
    ] == numbers and custom.classes == classes
    assert custom.metainfo()['classes'] == classes


@pytest.mark.parametrize(
    'content, message',
    [
        ('', 'line 1 has no column path'),
        ('a.npy,walk\n', 'line 1 has no column path.*path, label, split'),
        ('path,label,path\n', 'line 1 has two columns path'),
        ('path,label\n', 'lists no sequence'),
        ('path\n,\n', 'line 2 has 2 cells, line 1 names 1 columns'),
        ('path,label\na.npy,walk,x\n', 'line 2 has 3 cells'),
        ('path,split\na.npy,x\n,y\n', 'line 3, column path: is empty'),
        ('path\n../a.npy\n', "line 2, column path: '../a.npy' leads out of the folder.*absolute"),
        ('path\nb/../../c.npy\n', 'leads out'),
        ('path\n..\\a.npy\n', 'leads out'),
        ('path\n..\n', 'leads out'),
        ('path\na.npy\nb.npy\na.npy\n', "line 4: the name 'a' is also that of line 2.*column name"),
        ('path\na.npy\na.csv\n', "line 3: the name 'a'"),
        ('path,name\na.npy,x\nb.npy,x\n', "line 3: the name 'x'"),
        (
            'path,label\na,walk\nb,3\n',
            "line 3, column label: '3' is a number, but line 2 has the name 'walk'; give",
        ),
        (
            'path,label\na,3\nb,4\nc,4 x\n',
            "line 2, column label: '3' is a number, but line 4 has the name '4 x'",
        ),
        ('path,label\na,3\nb,-1\n', "line 3, column label: '-1' is not a valid label"),
        ('path,label\na,1.0\n', "'1.0' is not a valid label"),
        ('path,label\na,nan\n', "'nan' is not a valid label"),
        ('path,label\na,1000000000\n', 'from 0 to 999999'),
        ('path,label\na,' + '9' * 5000, 'is not a valid label'),
        ('path\n"a.npy\nb.npy\n', 'not valid CSV.*end of data'),
        ('path\n"a"b.npy\n', 'line 2 is not valid CSV'),
        ('path,label\na.npy,"x\ny"\n', 'line 3, column label: .* line break'),
        ('path,label\na,b\x07\n', 'line 2, column label.*control'),
        ('path\n' + 'a' * 200_000, 'line 2 is not valid CSV .*limit'),
        ('path\ncafé'.encode('latin1'), 'not UTF-8 text.*CSV UTF-8'),
        ('path\na.npy\n'.encode('utf-16'), 'not UTF-8'),
        (b'path\na\0b\n', 'line 2, column path'),
    ],
)
def test_bad_csv(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=f'{path}: .*{message}'):
        reader(path).recordings()


@pytest.mark.parametrize(
    'content, message',
    [
        ('', 'lists no sequence'),
        ('[]', 'lists no sequence'),
        ('[{"path": "a"}', 'not readable JSON'),
        ('[3]', 'entry 1 is not an object such as'),
        ('{"path": "a"}\n[]', 'line 2 is not an object'),
        ('{\n"path": "a"}', 'line 1 is not readable JSON.*one object per line'),
        ('"abc"', 'line 1 is not an object'),
        ('[{"path": "a"}, {"label": 3}]', 'entry 2, column path: is empty'),
        ('[{"path": 3.5}]', "column path: '3.5' is neither"),
        (
            '[{"path": "a", "label": true}]',
            "entry 1, column label: 'True' is neither text nor a whole number",
        ),
        ('[{"path": "a", "label": ["x"]}]', 'column label'),
        ('[{"path": "a", "subject": {}}]', 'column subject'),
        ('[{"path": "\\ud800"}]', 'column path: .*control character'),
        ('[{"path": "a\\u0000"}]', 'control'),
        ('[' * 99_999, 'not readable JSON'),
        ('[{"path": ' + '9' * 5000 + '}]', 'not readable JSON'),
    ],
)
def test_bad_json(tmp_path, content, message):
    path = write(tmp_path, content, 'm.json')
    with pytest.raises(ValueError, match=f'{path}: .*{message}'):
        reader(path).recordings()


@pytest.mark.parametrize('files', [['a.csv', 'b.csv'], ['x.zip'], []])
def test_one_manifest_is_needed(tmp_path, files):
    for name in files:
        if name.endswith('.zip'):
            with zipfile.ZipFile(tmp_path / name, 'w') as archive:
                archive.writestr('manifest.csv', text())
        else:
            (tmp_path / name).write_text(text())
    with pytest.raises(
        ValueError, match='custom needs one manifest.*(2 files|0 files|archive .*x.zip).*unpack'
    ):
        reader(str(tmp_path)).recordings()


def test_unknown_columns_are_reported(tmp_path):
    custom = reader(write(tmp_path, 'path,fps,lable\nb.csv,30,walk\n'))
    assert len(custom.recordings()) == 1
    ((reason, names),) = custom.left_out.items()
    assert names == ['fps', 'lable'] and "unknown columns of the manifest: 'fps', 'lable'" in reason


def test_bad_recording_is_reported_by_row_and_left_out(tmp_path):
    path = write(
        tmp_path, [dict(path='b.csv'), dict(path='bad.npy'), dict(path='walk/a.npy')], 'm.json'
    )
    np.save(tmp_path / 'bad.npy', pose(0, joints=17))
    summary = prepare(reader(path), str(tmp_path / 'out.pkl'), workers=1)
    assert summary.problems == [
        f'{path}, entry 2 (bad.npy): has 17 joints; the layout ntu25 has 25'
    ]
    assert summary.sequences == 2


def test_layout_in_a_file_goes_into_the_annotation_file(tmp_path):
    (tmp_path / 'arms.yaml').write_text(LAYOUT)
    np.save(tmp_path / 'three.npy', pose(0, joints=3))
    custom = reader(write(tmp_path, 'path\nthree.npy\n'), layout=str(tmp_path / 'arms.yaml'))
    prepare(custom, str(tmp_path / 'out.pkl'), workers=1)
    os.remove(tmp_path / 'arms.yaml')
    data = read_pickle(str(tmp_path / 'out.pkl'))
    layout = get_layout(data['metainfo']['layout'])
    assert layout.joints == ('left_shoulder', 'chest', 'right_shoulder')
    assert (layout.dims, layout.center_index, layout.bones) == (2, 1, (1, 1, 1))
    np.testing.assert_array_equal(
        data['annotations'][0]['keypoint'], pose(0, joints=3)[None, ..., :2]
    )
    np.testing.assert_array_equal(
        data['annotations'][0]['keypoint_score'], pose(0, joints=3)[None, ..., 2]
    )


def test_layouts(tmp_path):
    path = write(tmp_path)
    assert reader(path, layout='coco17').layout == 'coco17'
    assert get_layout(reader(path, layout=COCO17).layout) == COCO17
    with pytest.raises(ValueError, match="unknown joint layout 'ntu60'"):
        reader(path, layout='ntu60')
    with pytest.raises(FileNotFoundError):
        reader(path, layout=str(tmp_path / 'none.yaml'))


def test_recordings_can_be_pickled_and_change_with_the_file(tmp_path):
    """The identity of an interrupted run changes with the file of a sequence."""
    path = write(tmp_path)
    before = reader(path).recordings()
    assert pickle.loads(pickle.dumps(before)) == before and repr(before) == repr(
        reader(path).recordings()
    )
    np.save(tmp_path / 'walk' / 'a.npy', pose(7, 9))
    after = reader(path).recordings()
    assert after != before and replace(after[0], file=before[0].file) == before[0]


def test_many_rows(tmp_path):
    path = write(tmp_path, 'path,label\n' + ''.join(f'{i}.npy,{i % 60}\n' for i in range(20_000)))
    assert len(reader(path).recordings()) == 20_000


def test_whole_numbers_as_pandas_writes_them_among_blanks(tmp_path):
    np.save(tmp_path / 'long.npy', pose(0, 10))
    rows = [dict(path='long.npy', start=4.0, end=None), dict(path='long.npy', start=None, end=3.0)]
    (tmp_path / 'cuts.json').write_text(json.dumps(rows))
    text = 'path,start,end\nlong.npy,4.0,\nlong.npy,,3.0\n'
    (tmp_path / 'cuts.csv').write_text(text)
    for name in ('cuts.csv', 'cuts.json'):
        reader = ManifestReader(list_files([str(tmp_path / name)]), unit='m')
        found = [reader.read(row)[0] for row in reader.recordings()]
        assert [item['total_frames'] for item in found] == [6, 3], name
        np.testing.assert_array_equal(found[0]['keypoint'][0], pose(0, 10)[4:])


def test_size_of_the_picture_turns_fractions_into_pixels(tmp_path):
    """MediaPipe's landmarks are fractions of the picture; pixels stay as they are."""
    point = dict(x=0.5, y=0.25, z=0.0)
    (tmp_path / 'a.json').write_text(json.dumps([[point] * 33]))
    np.save(tmp_path / 'b.npy', np.full((1, 33, 2), 3.0))
    (tmp_path / 'list.csv').write_text('path,width,height\na.json,1920,1080\nb.npy,1920,1080\n')
    reader = ManifestReader(list_files([str(tmp_path / 'list.csv')]), 'mediapipe33_2d')
    fractions, pixels = (reader.read(row)[0] for row in reader.recordings())
    np.testing.assert_array_equal(fractions['keypoint'][0, 0, 7], [960, 270])
    np.testing.assert_array_equal(pixels['keypoint'][0, 0, 7], [3, 3])
    assert fractions['img_shape'] == pixels['img_shape'] == (1080, 1920)


def test_a_folder_where_a_file_is_wanted(tmp_path):
    (tmp_path / 'wave').mkdir()
    (tmp_path / 'list.csv').write_text('path\nwave\n')
    reader = ManifestReader(list_files([str(tmp_path / 'list.csv')]))
    (row,) = reader.recordings()
    with pytest.raises(RecordingError, match='is a folder that holds no files .*_keypoints.json'):
        reader.read(row)


def test_start_and_end_cut_a_long_recording(tmp_path):
    """Frames from start to before end; names tell them apart; the size of the picture is kept."""
    long = pose(0, frames=10)
    np.save(tmp_path / 'long.npy', long)
    path = tmp_path / 'cuts.csv'
    path.write_text(
        'path,label,start,end,width,height\n'
        'long.npy,sit,0,4,1280,720\nlong.npy,walk,4,,,\nlong.npy,all,,,,\n'
    )
    first, second, third = reader(str(path)).dataset()['annotations']
    assert [a['frame_dir'] for a in (first, second, third)] == ['long:0-4', 'long:4-', 'long']
    np.testing.assert_array_equal(first['keypoint'][0], long[:4])
    np.testing.assert_array_equal(second['keypoint'][0], long[4:])
    np.testing.assert_array_equal(third['keypoint'][0], long)
    assert first['img_shape'] == (720, 1280) and 'img_shape' not in second
    assert [a['total_frames'] for a in (first, second, third)] == [4, 6, 10]


@pytest.mark.parametrize(
    'cells, message',
    [
        ('5,3,,', 'line 2, column end: is 3; it must be more than start, 5'),
        ('x,3,,', "line 2, column start: 'x' is not a whole number"),
        ('-1,3,,', "column start: '-1' is not a whole number of at least 0"),
        (',,5,', 'columns width and height: both must be given'),
        (',,0,5', 'columns width and height: both must be given, above 0'),
    ],
)
def test_bad_cuts(tmp_path, cells, message):
    (tmp_path / 'cuts.csv').write_text(f'path,start,end,width,height\nlong.npy,{cells}\n')
    with pytest.raises(ValueError, match=message):
        reader(str(tmp_path / 'cuts.csv')).recordings()


def test_cuts_beyond_the_recording(tmp_path):
    np.save(tmp_path / 'long.npy', pose(0, frames=10))
    (tmp_path / 'cuts.csv').write_text('path,start,end\nlong.npy,4,11\n')
    manifest = reader(str(tmp_path / 'cuts.csv'))
    with pytest.raises(ValueError, match='has 10 frames, of which .*line 2 wants 4 to 11'):
        manifest.read(manifest.recordings()[0])
