"""Memory that files of others take: at most 16 times their size and 512 MB, in every reader."""

import gzip
import io
import json
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets import prepare
from aimclr_mm.datasets.own_files import manifest
from aimclr_mm.datasets.own_files.recordings import read_recordings
from aimclr_mm.datasets.prepare import READERS
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.datasets.readers.text import parse_text
from aimclr_mm.evaluation.results import FeatureSet
from aimclr_mm.skeletons import get_layout
from aimclr_mm.utils.files import parse_json

MB = 2**20
TIMES, ALWAYS = 16, 512 * MB  # the limit that is documented
NTU = 'S001C001P001R001A001.skeleton'


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def header(shape: tuple, dtype: str = '<f4') -> bytes:
    """The beginning of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, dict(descr=dtype, fortran_order=False, shape=shape))
    return file.getvalue()


def many(unit: bytes, size: int = 16 * MB) -> bytes:
    return unit * (size // len(unit))


def listed(unit: bytes, size: int = 16 * MB) -> bytes:
    """A list of JSON of about this size."""
    return b'[' + many(unit + b',', size) + unit + b']'


def prepared(name: str):
    """Read a folder as tools/prepare_data.py does."""

    def read(folder: Path) -> None:
        kind = READERS[name]
        reader = kind(list_files([str(folder)], kind.pattern))
        for recording in reader.recordings():
            prepare._read(reader, recording)

    return read


def own(layout: str):
    """Read a folder of recordings in this layout."""
    return lambda folder: read_recordings(str(folder), layout)


BVH = b"""HIERARCHY
ROOT Hips
{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 End Site
 {
  OFFSET 0 0 0
 }
}
MOTION
Frames: 400000
Frame Time: 0.03
"""
PERSON = json.dumps(dict(keypoints=[[0, 0]] * 17, keypoint_scores=[0] * 17)).encode()
CROWD = b'{"instances":[' + b','.join([PERSON] * 64) + b']}'
# name: reader, name of the file, content; each took more than the limit, or seconds
FILES = {
    'line breaks in a zip': (
        prepared('ntu60'),
        'a.zip',
        lambda: zipped(NTU, b'1\n' + many(b' \n', 60 * MB) + b'1'),
    ),
    'line breaks between blanks': (prepared('ntu60'), NTU, lambda: b'1\n' + many(b' \n') + b'1'),
    'lists in a recording of NW-UCLA': (
        prepared('nw_ucla'),
        'a.zip',
        lambda: zipped('a01_s01_e00_v01.json', listed(b'[[[[[]]]]]', 8 * MB - 100)),
    ),
    'packed numbers': (
        own('ntu25'),
        'a.csv.gz',
        lambda: gzip.compress(many(b','.join([b'1'] * 66) + b'\n', 60 * MB)),
    ),
    'lists': (own('ntu25'), 'a.json', lambda: listed(b'[[[[[]]]]]', 32 * MB)),
    'objects': (own('ntu25'), 'a.json', lambda: listed(b'{"":{}}', 32 * MB)),
    'packed lists': (own('ntu25'), 'a.json.gz', lambda: gzip.compress(listed(b'[]', 60 * MB))),
    'a crowd in the first of many frames': (
        own('coco17'),
        'a.json',
        lambda: b'[' + CROWD + b',{"instances":[]}' * 50_000 + b']',
    ),
    'a list of rows': (own('ntu25'), 'm.jsonl', lambda: listed(b'{"path":"a"}', 32 * MB)),
    'motion of one joint': (
        own('mocap21'),
        'a.bvh',
        lambda: BVH + b'0 0 0 0 0 0\n' * 400_000,
    ),
    'header of an array': (own('ntu25'), 'a.npy', lambda: header((10**9, 25, 3)) + bytes(100)),
    'features of zeros': (
        lambda folder: FeatureSet.load(str(folder / 'a.npz')),
        'a.npz',
        lambda: zipped('features.npy', header((10**5, 400)) + bytes(16 * 10**7)),
    ),
    'joints of a layout': (
        lambda folder: get_layout(str(folder / 'a.yaml')),
        'a.yaml',
        lambda: (
            b'bones: {'
            + b','.join(b'a%x: a0' % n for n in range(6000))
            + b'}\ncenter: a0\nshoulders: [a0, a1]\n'
        ),
    ),
}


def run_in_child(read, folder: Path) -> int:
    """Call a function in a child process; return how many bytes of memory it took."""
    page = os.sysconf('SC_PAGE_SIZE')
    pid = os.fork()
    if not pid:
        try:
            read(folder)
        except Exception as error:  # noqa: BLE001
            (folder / 'error.txt').write_text(f'{type(error).__name__}: {error}')
        finally:
            os._exit(0)
    resident = int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * page
    _, status, usage = os.wait4(pid, 0)
    assert status == 0
    return usage.ru_maxrss * 1024 - resident


@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='needs /proc')
@pytest.mark.parametrize('kind', FILES)
def test_memory_stays_in_proportion_to_the_file(tmp_path, kind):
    read, name, content = FILES[kind]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content())
    start = time.monotonic()
    taken = run_in_child(read, tmp_path)
    assert taken < TIMES * path.stat().st_size + ALWAYS, f'{taken / MB:.0f} MB'
    assert time.monotonic() - start < 15
    message = (tmp_path / 'error.txt').read_text()
    assert message.startswith(('RecordingError', 'ValueError')) and len(message) < 700
    assert path.name in message or message.startswith('RecordingError')  # whose caller names it


def test_files_of_usual_size_are_read():
    """JSON of poses takes 10 to 15 times its size; short numbers need a small file."""
    pose = [[123.456, -78.9, 0.5]] * 17
    assert len(parse_json(json.dumps([pose] * 20_000))) == 20_000  # 8 MB
    assert len(parse_json(json.dumps([[[0, 0]] * 17] * 10_000))) == 10_000  # 1 MB
    with pytest.raises(ValueError, match='16 times its size and 128 MB more. Save arrays'):
        parse_json(listed(b'0', 32 * MB))


@pytest.mark.parametrize(
    'text, expected',
    [
        (b'  1\t 2  \r\n\t3   4 \n', b'1 2\r\n3 4\n'),
        (b'1 2\n 3 4', b'1 2\n3 4'),
        (b'1\t2\r3 \r\n \n4  ', b'1 2\r3\r\n\n4'),
        (b'\t', b''),
    ],
)
def test_blanks_between_cells(text, expected):
    found = []
    parse_text(text, found.append)
    assert found == [expected]


def test_rows_and_columns_of_manifests(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, 'MAX_ROWS', 2)
    path = tmp_path / 'm.csv'
    path.write_text('path\na\nb\nc\n')
    reader = READERS['custom'](list_files([str(path)]))
    with pytest.raises(ValueError, match='lists more than 2 sequences; split it'):
        reader.recordings()
    path.write_text('path' + ',' * 1000 + '\na\n')
    with pytest.raises(ValueError, match='line 1 has 1001 columns; the limit is 1000'):
        READERS['custom'](list_files([str(path)])).recordings()
