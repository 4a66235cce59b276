"""Attacks on readers of untrusted files without a payload: memory, time, stack, side effects."""

import copyreg
import functools
import importlib
import importlib.util
import io
import operator
import pickle
import resource
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.datasets.annotations import read_pickle
from aimclr_mm.datasets.prepare import READERS
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.datasets.readers.pku_mmd import read_lists
from aimclr_mm.evaluation.results import FeatureSet
from aimclr_mm.skeletons import get_layout
from tests.canary import Payload, archive_of, refused, saved

WHOLE = dict(
    split=dict(xsub_train=['a']),
    annotations=[
        dict(frame_dir='a', label=0, total_frames=2, keypoint=np.ones((1, 2, 25, 3), np.float32))
    ],
)


def stack_global(module: str, name: str) -> bytes:
    """A reference in protocol 4."""
    return (
        b''.join(b'\x8c' + bytes([len(text)]) + text.encode() for text in (module, name)) + b'\x93'
    )


def text(value: str) -> bytes:
    """A string."""
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def bytes_of(size: int) -> bytes:
    """Bytes in protocol 3."""
    return b'B' + struct.pack('<I', size) + bytes(size)


SHARED = b'](K\x01K\x01eq\x00' + b''.join(
    b'0](' + (b'h' + bytes([i])) * 9 + b'eq' + bytes([i + 1]) for i in range(40)
)

ATTACKS = {
    **{
        f'names {module}.{name}': b'\x80\x04' + stack_global(module, name) + b'.'
        for module, name in (
            ('os', 'system'),
            ('posix', 'system'),
            ('nt', 'system'),
            ('builtins', 'eval'),
            ('builtins', 'exec'),
            ('builtins', 'getattr'),
            ('builtins', '__import__'),
            ('builtins', 'open'),
            ('builtins', 'print'),
            ('builtins', 'dict.fromkeys'),
            ('builtins', 'int'),
            ('builtins', 'slice'),
            ('builtins', 'type'),
            ('__builtin__', 'eval'),
            ('copyreg', '_reconstructor'),
            ('copy_reg', '_reconstructor'),
            ('operator', 'attrgetter'),
            ('functools', 'partial'),
            ('importlib', 'import_module'),
            ('subprocess', 'Popen'),
            ('_codecs', 'lookup'),
            ('collections', 'OrderedDict.fromkeys'),
            ('numpy', 'load'),
            ('numpy', 'ndarray.tofile'),
            ('numpy', 'memmap'),
            ('numpy', 'frombuffer'),
            ('numpy.testing._private.utils', 'runstring'),
            ('numpy.f2py.crackfortran', 'myeval'),
            ('pickle', 'loads'),
            ('_pickle', 'Unpickler'),
            ('torch', 'load'),
            ('aimclr_mm.utils.pickles', 'read_pickle'),
            ('aimclr_mm.utils.pickles', 'os.system'),
            ('numpy.core.multiarray', '_reconstruct.__globals__'),
        )
    },
    'calls a type of arrays': b'\x80\x04' + stack_global('numpy', 'ndarray') + b'K\x05\x85\x85R.',
    'array of objects': pickle.dumps(np.array([{}, None], dtype=object), 4),
    'array of records': pickle.dumps(np.zeros(3, dtype=[('a', 'i4')]), 4),
    'array of dates': pickle.dumps(np.zeros(3, dtype='M8[s]'), 4),
    'array of raw memory': pickle.dumps(np.zeros(3, dtype='V8'), 4),
    'array with too little content': pickle.dumps(np.zeros(64), 4).replace(
        b'K\x40\x85', b'K\x7f\x85'
    ),
    'array without content': b'\x80\x04'
    + stack_global('numpy._core.multiarray', '_reconstruct')
    + b')R.',
    'dtype alone': pickle.dumps(np.dtype('f4'), 4),
    'changes a function': b'\x80\x02c_codecs\nencode\nN}' + text('__defaults__') + b'))\x86s\x86b.',
    'changes attributes of a function': b'\x80\x02c_codecs\nencode\n}' + text('evil') + b'K\x01sb.',
    'changes a type': b'\x80\x02ccollections\nOrderedDict\n}' + text('items') + b'K\x01sb.',
    'changes a dict': b'\x80\x02ccollections\nOrderedDict\n)R}' + text('items') + b'K\x01sb.',
    'new object': b'\x80\x02ccollections\nOrderedDict\n)\x81.',
    'new object with names': b'\x80\x04' + stack_global('collections', 'OrderedDict') + b')}\x92.',
    'old object': b'(ccollections\nOrderedDict\no.',
    'old instance': b'(icollections\nOrderedDict\n.',
    'extension': b'\x80\x02\x82\xf0.',
    'persistent': b'Pmark\n.',
    'persistent in bytes': b'\x80\x02K\x01Q.',
    'buffer of another program': b'\x80\x05\x97.',
    'bytes of a size': b'\x80\x02cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.',
    'bytearray of a size': b'\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.',
    'text in a codec': b'\x80\x02c_codecs\nencode\n' + text('x') + text('idna') + b'\x86R.',
    'index of a memo': b'\x80\x02]r\xff\xff\xff\x7f' + b'h\x00.',
    'long bytes': b'\x80\x04\x8e' + struct.pack('<Q', 2**50) + b'x.',
    'long bytearray': b'\x80\x05\x96' + struct.pack('<Q', 2**33) + b'x.',
    'long text': b'\x80\x04\x8d' + struct.pack('<Q', 2**50) + b'x.',
    'long number': b'\x80\x02\x8b\xff\xff\xff\x7f\x01.',
    'long decimal': b'L' + b'9' * 100_000 + b'L\n.',
    'long frame': b'\x80\x04\x95' + struct.pack('<Q', 2**62) + b'N.',
    'many times a list of lists': b'\x80\x02' + SHARED + b'.',
    'many times one list': b'\x80\x02](' + b'K\x01' * 1000 + b'eq\x00(' + b'h\x00' * 5000 + b't.',
    'many copies of one list': b'\x80\x02]('
    + b'K\x01' * 1000
    + b'eq\x00('
    + (b'cbuiltins\nset\nh\x00\x85R' * 900)
    + b't.',
    'many arrays of one content': b'\x80\x04]\x94('
    + bytes_of(100_000)
    + b'\x94'
    + (
        stack_global('numpy._core.numeric', '_frombuffer')
        + b'(h\x01'
        + stack_global('numpy', 'dtype')
        + text('u1')
        + b'\x85RJ\xa0\x86\x01\x00\x85'
        + text('C')
        + b'tR'
    )
    * 50
    + b'e.',
    'many numbers of one content': b'\x80\x04]\x94('
    + bytes_of(100_000)
    + b'\x94'
    + (
        stack_global('numpy._core.multiarray', 'scalar')
        + stack_global('numpy', 'dtype')
        + text('S100000')
        + b'\x85Rh\x01\x86R'
    )
    * 50
    + b'e.',
    'many bytearrays of one content': b'\x80\x04]\x94('
    + bytes_of(100_000)
    + b'\x94'
    + (stack_global('builtins', 'bytearray') + b'h\x01\x85R') * 50
    + b'e.',
    'nested lists': b'\x80\x02' + b']' * 100_000 + b'a' * 99_999 + b'.',
    'nested tuples': b'\x80\x02)' + b'\x85' * 100_000 + b'.',
    'nested dicts': b'\x80\x02' + b'}K\x01' * 50_000 + b'N' + b's' * 50_000 + b'.',
    'key of nested tuples': b'\x80\x02})' + b'\x85' * 200_000 + b'K\x01s.',
    'keys of nested tuples': b'\x80\x02}()' + b'\x85' * 200_000 + b'K\x01u.',
    'old dict of nested tuples': b'()' + b'\x85' * 200_000 + b'K\x01d.',
    'set of nested tuples': b'\x80\x04\x8f()' + b'\x85' * 200_000 + b'\x90.',
    'frozen set of nested tuples': b'\x80\x04()' + b'\x85' * 200_000 + b'\x91.',
    'made set of nested tuples': b'\x80\x02cbuiltins\nset\n]('
    + b')'
    + b'\x85' * 200_000
    + b'e\x85R.',
    'made dict of nested tuples': b'\x80\x02ccollections\nOrderedDict\n]('
    + b')'
    + b'\x85' * 200_000
    + b'K\x01\x86e\x85R.',
    'list that holds itself': b'\x80\x02]q\x00h\x00a.',
    'dict that holds itself': b'\x80\x02}q\x00K\x01h\x00s.',
    'array as a key': b'\x80\x04}' + pickle.dumps(np.zeros(2), 4)[11:-1] + b'K\x01s.',
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize('kind', ATTACKS)
def test_attacks_on_the_reader_of_pickles(tmp_path, kind):
    """Refused at once, with little memory, and without a lasting effect."""
    path = tmp_path / 'attack.pkl'
    path.write_bytes(ATTACKS[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = refused(read_pickle, str(path), match='attack.pkl')
    is_large = kind.startswith('many') or 'nested' in kind
    assert len(message) < 500 and is_large == ('times as many bytes' in message)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB
    path.write_bytes(pickle.dumps(WHOLE, 2))
    assert read_pickle(str(path))['split'] == WHOLE['split']


@pytest.mark.parametrize(
    'call',
    [
        (functools.partial, print),
        (copyreg._reconstructor, dict, object, None),
        (operator.methodcaller, 'x'),
        (importlib.import_module, 'antigravity'),
    ],
)
def test_gadgets(tmp_path, call):
    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps([Payload(*call)], 4))
    refused(read_pickle, str(tmp_path / 'evil.pkl'), match='it refers to|it holds objects')


@pytest.mark.parametrize('protocol', range(6))
def test_what_is_plain_is_read_whatever_its_order(tmp_path, protocol):
    array = np.arange(24.0).reshape(2, 3, 4)
    data = dict(
        arrays=[array.T, array.transpose(1, 0, 2), array.astype('>f4'), np.array(['a', 'bc'])],
        ordered=OrderedDict(a=1),
        scalars=[np.float32(2), np.int64(3), np.bool_(True), 1 + 2j],
        sets=[{1, 'a'}, frozenset([(1, 2)])],
        more=[b'', b'x\xff', bytearray(b'yz'), bytearray(), 10**30, -1.5, None, (), {(1, 'a'): 2}],
    )
    path = tmp_path / 'data.pkl'
    path.write_bytes(pickle.dumps(data, protocol))
    read = read_pickle(str(path))
    for ours, theirs in zip(read.pop('arrays'), data.pop('arrays')):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    assert read == data


STATE = OrderedDict({'encoder.weight': torch.ones(2, 3)})


def rebuilt(pickled: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint with another pickle in it."""
    source, target = zipfile.ZipFile(io.BytesIO(saved(dict(STATE)))), io.BytesIO()
    with zipfile.ZipFile(target, 'w', compression) as archive:
        for member in source.infolist():
            archive.writestr(
                member.filename,
                pickled if member.filename.endswith('data.pkl') else source.read(member),
            )
    return target.getvalue()


DEEP = b')' + b'\x85' * 200_000  # a tuple in a tuple in a tuple ...

CHECKPOINT_ATTACKS = {
    'key of nested tuples': rebuilt(b'\x80\x02}' + DEEP + b'K\x01s.'),
    'storage of nested tuples': rebuilt(
        b'\x80\x02}K\x01(' + text('storage') + b'K\x01' + DEEP + b'NK\x01tQs.'
    ),
    'counted nested tuples': rebuilt(
        b'\x80\x02}K\x01ccollections\nCounter\n](' + DEEP + b'e\x85Rs.'
    ),
    'legacy keys': saved({}, _use_new_zipfile_serialization=False).removesuffix(pickle.dumps([], 2))
    + (b'\x80\x02](}' + DEEP + b'K\x01se.'),
    'nested lists': rebuilt(b'\x80\x02}K\x01' + b']' * 100_000 + b'a' * 99_999 + b's.'),
    'many times a list of lists': rebuilt(b'\x80\x02}K\x01' + SHARED + b's.'),
    'bytearray of a size': rebuilt(b'\x80\x02}K\x01cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85Rs.'),
    'tensor of a size': rebuilt(b'\x80\x02}K\x01ctorch\nTensor\nJ\xff\xff\xff\x7f\x85Rs.'),
    'storage of a size': rebuilt(
        b'\x80\x02}K\x01ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85Rs.'
    ),
    'compressed': rebuilt(pickle.dumps(dict(a=[0] * 10**6), 2), zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize('kind', CHECKPOINT_ATTACKS)
def test_attacks_on_the_reader_of_checkpoints(tmp_path, kind):
    path = tmp_path / 'attack.pth'
    path.write_bytes(CHECKPOINT_ATTACKS[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(refused(load_checkpoint_file, str(path), match='attack.pth')) < 700
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


@pytest.mark.parametrize('legacy', [False, True])
def test_what_checkpoints_consist_of_is_let_pass(tmp_path, legacy):
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    content = dict(
        state_dict=network.state_dict(),
        optimizer=optimizer.state_dict(),
        counter=Counter('aab'),
        size=torch.Size([1]),
        dtype=torch.float16,
        device=torch.device('cpu'),
        set={1, 2},
        raw=b'x\xff',
        half=torch.ones(2).bfloat16(),
        parameter=torch.nn.Parameter(torch.ones(2)),
        nested=dict(a=[(1, 2), {3: None}]),
        complex=1j,
        view=torch.arange(6).view(2, 3).T,
        history=[list(range(1000))] * 2,
    )
    path = str(tmp_path / 'good.pth')
    Path(path).write_bytes(saved(content, _use_new_zipfile_serialization=not legacy))
    loaded, expected = load_checkpoint_file(path), torch.load(path, weights_only=True)
    assert loaded.keys() == expected.keys() == content.keys()
    assert torch.equal(loaded['view'], content['view']) and loaded['counter'] == content['counter']


def npy(array: np.ndarray) -> bytes:
    """A .npy file, with pickled objects if need be."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize('compression', [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_of_arrays(tmp_path, compression):
    """100 MB of zeros in some kilobytes; the header of a huge array before nothing."""
    bomb = npy(np.zeros((1, 1), np.float32))[:128] + bytes(10**8)
    members = dict(features=bomb, labels=b'', gallery=b'', names=b'')
    path = tmp_path / 'bomb.npz'
    path.write_bytes(archive_of(compression, **members))
    assert path.stat().st_size < 2 * 10**5
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(FeatureSet.load, str(path), match='deflate|times as large')
    path.write_bytes(
        archive_of(
            **dict(
                members,
                features=npy(np.zeros((1, 1), np.float32)).replace(
                    b'(1, 1), }            ', b'(999999999, 999999), }'
                )[:128],
            )
        )
    )
    refused(FeatureSet.load, str(path), match='bomb.npz')
    (tmp_path / 'm.csv').write_text('path\nbomb.npz\n')
    path.write_bytes(archive_of(compression, keypoint=bomb))
    reader = READERS['custom'](list_files([str(tmp_path / 'm.csv')]))
    refused(reader.read, reader.recordings()[0], match='deflate|times as large|the limit')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


def test_cells_in_a_recording_of_utd_mhad(tmp_path):
    """Cells may be nested deeper than scipy's stack is; they are refused by their header."""
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = np.zeros((20, 3, 4))
    savemat(tmp_path / 'a1_s1_t1_skeleton.mat', dict(d_skel=cell))
    (file,) = list_files([str(tmp_path)])
    refused(READERS['utd_mhad']([file]).read, file, match='d_skel is a cell')
    savemat(
        tmp_path / 'a1_s1_t1_skeleton.mat',
        dict(d_skel=np.zeros((20, 3, 10**5))),
        do_compression=True,
    )
    (file,) = list_files([str(tmp_path)])
    refused(READERS['utd_mhad']([file]).read, file, match='at most 1000000 numbers')


@pytest.mark.parametrize('nested', ['[' * 30_000, '{a: ' * 10_000, '- ' * 30_000, '? ' * 30_000])
def test_nested_layout_in_yaml(tmp_path, nested):
    (tmp_path / 'layout.yaml').write_text(f'center: {nested}')
    refused(get_layout, str(tmp_path / 'layout.yaml'), match='layout.yaml')


@pytest.mark.parametrize(
    'content',
    [
        '[' * 100_000,
        '[{"path": ' + '[' * 100_000,
        '{"path": "a", "label": 1' + '0' * 9999 + '}',
        '[{"path": ' + '[' * 900 + ']' * 900 + '}]',
        '[{"split": [' + '[' * 900 + ']' * 901 + '}]',
    ],
)
def test_manifest_in_json(tmp_path, content):
    (tmp_path / 'm.json').write_text(content)
    refused(READERS['custom'](list_files([str(tmp_path / 'm.json')])).recordings, match='m.json')


@pytest.mark.timeout(20)
def test_split_file_that_slows_an_expression_down():
    assert read_lists(b'a' * 2**16) == dict(train=set(), val=set())


NAME = 'S001C001P001R001A001.skeleton'


@pytest.mark.parametrize('compression', [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize('honest', [True, False])
def test_bombs_in_archives(tmp_path, compression, honest):
    path, size = tmp_path / 'a.zip', 10**8
    with (
        zipfile.ZipFile(path, 'w', compression) as archive,
        archive.open(NAME, 'w', force_zip64=False) as member,
    ):
        for _ in range(100):
            member.write(bytes(10**6))
    if not honest:
        path.write_bytes(
            path.read_bytes().replace(struct.pack('<I', size), struct.pack('<I', 1000))
        )
    (file,) = list_files([str(path)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(
        READERS['ntu60']([file]).read, file, match='the limit is|deflate|cannot be read|more bytes'
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 70 * 1024  # KiB
