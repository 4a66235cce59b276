"""Damaged files of every format: readers return finite sequences or report the damage."""

import io
import json
import os
import pickle
import random
import resource
import signal
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from aimclr_mm.datasets import prepare
from aimclr_mm.datasets.prepare import READERS
from aimclr_mm.datasets.readers import list_files, sources
from tests.canary import watch

RNG = np.random.default_rng(0)
NUMBERS = (
    '-1',
    '0',
    '1e9',
    '1000000000',
    '99999999999999999999',
    'nan',
    'inf',
    'abc',
    '',
    '1e400',
    '0x10',
    '1_0',
    '--1',
)


def table(lines: int, columns: int, separator: str = ' ') -> str:
    """Return a table of random numbers."""
    rows = RNG.normal(size=(lines, columns))
    return ''.join(separator.join(f'{value:.5f}' for value in row) + '\r\n' for row in rows)


def ntu() -> bytes:
    """Return a file of two frames, the second with two bodies."""
    body = '72057594037927936 0 1 1 1 1 0 0.1 0.2 2\r\n25\r\n' + ''.join(
        line + ' 2\r\n' for line in table(25, 11).split('\r\n')[:-1]
    )
    return f'2\r\n1\r\n{body}2\r\n{body}{body}'.encode()


def npy(shape: tuple) -> bytes:
    """Return a .npy file."""
    file = io.BytesIO()
    np.save(file, RNG.normal(size=shape).astype(np.float32))
    return file.getvalue()


def npz() -> bytes:
    """Return a .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, keypoint=RNG.normal(size=(4, 25, 3)), keypoint_score=np.ones((4, 25)))
    return file.getvalue()


def mat() -> bytes:
    """Return a recording of UTD-MHAD."""
    file = io.BytesIO()
    savemat(file, dict(d_skel=RNG.normal(size=(20, 3, 4))), do_compression=True)
    return file.getvalue()


def archive(compression: int) -> bytes:
    """Return an archive with a recording of NTU."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as packed:
        packed.writestr('nturgb+d_skeletons/S001C001P001R001A001.skeleton', ntu())
    return file.getvalue()


def manifest(name: str) -> bytes:
    """Return a manifest that lists one file."""
    return f'path,label,split,subject\r\n{name},walk,train,1\r\n'.encode()


ucla = json.dumps(
    dict(
        file_name='a01_s01_e00_v01',
        skeletons=RNG.normal(size=(3, 20, 3)).round(4).tolist(),
        label=1,
    )
)
mmpose = json.dumps(
    dict(
        instance_info=[
            dict(
                frame_id=i,
                instances=[
                    dict(
                        keypoints=RNG.normal(size=(25, 3)).round(3).tolist(),
                        keypoint_scores=[0.5] * 25,
                    )
                ],
            )
            for i in range(3)
        ]
    )
)
SPLIT = b'Training videos: \r\n0002-L, 0003-M\r\n\r\nValidataion videos: \r\n0004-R\r\n'
# name: reader, files, index of the damaged file
FORMATS = {
    'ntu': ('ntu60', {'S001C001P001R001A001.skeleton': ntu()}, 0),
    'stored archive': ('ntu60', {'ntu.zip': archive(zipfile.ZIP_STORED)}, 0),
    'deflated archive': ('ntu60', {'ntu.zip': archive(zipfile.ZIP_DEFLATED)}, 0),
    'pku skeleton': (
        'pku_mmd_v1',
        {
            's/0002-L.txt': table(9, 150).encode(),
            'l/0002-L.txt': b'1,1,4,2\r\n3,2,9,1\r\n',
            'cross-subject.txt': SPLIT,
        },
        0,
    ),
    'pku label': (
        'pku_mmd_v1',
        {
            'l/0002-L.txt': b'1,1,4,2\r\n3,2,9,1\r\n',
            's/0002-L.txt': table(9, 150).encode(),
            'cross-subject.txt': SPLIT,
        },
        0,
    ),
    'pku split': (
        'pku_mmd_v1',
        {
            'cross-subject.txt': SPLIT,
            'l/0002-L.txt': b'1,1,4,2\r\n3,2,9,1\r\n',
            's/0002-L.txt': table(9, 150).encode(),
        },
        0,
    ),
    'utd_mhad': ('utd_mhad', {'a1_s1_t1_skeleton.mat': mat()}, 0),
    'nw_ucla': ('nw_ucla', {'a01_s01_e00_v01.json': ucla.encode()}, 0),
    'msr_action3d': (
        'msr_action3d',
        {'a01_s01_e01_skeleton3D.txt': table(60, 4, '  ').encode()},
        0,
    ),
    'folders': ('folders', {'walk/a.txt': table(4, 75).encode()}, 0),
    'custom manifest': (
        'custom',
        {'m.csv': manifest('a.csv'), 'a.csv': table(4, 75, ',').encode()},
        0,
    ),
    'custom csv': ('custom', {'a.csv': table(4, 75, ',').encode(), 'm.csv': manifest('a.csv')}, 0),
    'custom npy': ('custom', {'a.npy': npy((4, 25, 3)), 'm.csv': manifest('a.npy')}, 0),
    'custom npz': ('custom', {'a.npz': npz(), 'm.csv': manifest('a.npz')}, 0),
    'custom json': ('custom', {'a.json': mmpose.encode(), 'm.csv': manifest('a.json')}, 0),
    'official positions': (
        'official',
        {
            'xsub/train_position.npy': npy((2, 3, 5, 25, 2)),
            'xsub/train_label.pkl': pickle.dumps((['a', 'b'], [0, 1])),
        },
        0,
    ),
    'official labels': (
        'official',
        {
            'xsub/train_label.pkl': pickle.dumps((['a', 'b'], [0, 1])),
            'xsub/train_position.npy': npy((2, 3, 5, 25, 2)),
        },
        0,
    ),
}


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one to three mutations."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        place, length = rng.randrange(len(data) + 1), rng.randint(1, 40)
        kind = rng.randrange(8)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[:length]
        elif kind == 3:
            data[place:place] = rng.randbytes(length)
        elif kind == 4 and data:
            data[min(place, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 5:
            data[place : place + 3] = rng.choice(NUMBERS).encode()
        elif kind == 6:
            data[place:place] = rng.choice(
                (b'\r\n', b'\t', b'  ', b'\0', b'"', b',', b'[' * 3000, b'\xef\xbb\xbf')
            )
        else:
            data = data[:place] + bytearray(length) + data[place + length :]
    return bytes(data)


def read_all(name: str, folder: Path) -> int:
    """Read a source like tools/prepare_data.py and return the number of sequences."""
    kind = READERS[name]
    sources = [str(folder / 'm.csv')] if name == 'custom' else [str(folder)]
    try:
        reader = kind(list_files(sources, kind.pattern))
        recordings = reader.recordings()
    except ValueError:
        return 0
    found = 0
    for recording in recordings:
        try:
            found += len(prepare._read(reader, recording))
        except ValueError as error:
            assert str(error)
    return found


def attack(count: int, seed: str, write, read) -> tuple[int, int]:
    """Damage and read ``count`` times; return how often sequences were read, and how often none."""
    rng, good = random.Random(seed), 0
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail('a damaged file made the reader hang'))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        write(rng)
        signal.alarm(20)
        try:
            with watch(Path(tempfile.gettempdir())) as seen:
                good += bool(read())
        finally:
            signal.alarm(0)
        assert not seen, seen
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB
    return good, count - good


@pytest.mark.parametrize(
    'count', [int(os.environ.get('MUTATIONS', 40)), pytest.param(650, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize('form', FORMATS)
def test_damaged_files(tmp_path, form, count):
    name, files, target = FORMATS[form]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert read_all(name, tmp_path) > 0
    victim = list(files)[target]

    def write(rng: random.Random) -> None:
        (tmp_path / victim).write_bytes(damage(files[victim], rng))
        time.sleep(2e-5)  # caches tell files of the same size apart by their time
        sources._open_archive.cache_clear()

    good, bad = attack(count, form, write, lambda: read_all(name, tmp_path))
    print(form, dict(read=good, refused=bad))
    assert bad > count / 20, (good, bad)
