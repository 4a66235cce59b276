"""Damaged annotation files, checkpoints, manifests and layouts are read or refused.

MUTATIONS=10000 sets the number of mutations of each kind (default 600).
"""

import io
import json
import os
import pickle
import random
import resource
import signal
import tempfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aimclr_mm.checkpoints.loading import load_weights, stream_prefix
from aimclr_mm.checkpoints.released import convert
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.datasets import SkeletonDataset
from aimclr_mm.datasets.own_files.sequences import read_npz as fields_of
from aimclr_mm.datasets.prepare import READERS
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.datasets.readers.pose_pickle import verify
from aimclr_mm.datasets.readers.sources import _open_archive
from aimclr_mm.evaluation.results import FeatureSet
from aimclr_mm.skeletons import get_layout
from tests.archives import restructured
from tests.canary import watch
from tests.datasets.readers.test_mutations import ntu

COUNT = int(os.environ.get('MUTATIONS', 600))
SECONDS, MEGABYTES = 5, 300
NUMBERS = (
    b'\0' * 4,
    b'\xff' * 4,
    b'\xff\xff\xff\x7f',
    b'\0\0\0\x80',
    b'\xff' * 8,
    b'-1',
    b'1e999',
    b'nan',
    b'0' * 400,
)
RNG = np.random.default_rng(0)


def damage(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Apply one to four mutations: flips, cuts, insertions, repeats, splices, numbers."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8, 30, 300))
        kind, other = rng.randrange(9), rng.choice(others)
        if kind < 2 and data:
            data[min(place, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 2 and data:
            data[min(place, len(data) - 1)] = rng.randrange(256)
        elif kind == 3:
            del data[place : place + (length if rng.random() < 0.7 else len(data))]
        elif kind == 4:
            data[place:place] = rng.randbytes(length)
        elif kind == 5:
            data[place:place] = data[place : place + length] * rng.randint(1, 20)
        elif kind == 6:
            start = rng.randrange(len(other))
            data[place : place + length] = other[start : start + length]
        elif kind == 7:
            data[place:] = other[place:]
        else:
            number = rng.choice(NUMBERS)
            data[place : place + len(number)] = number
    return bytes(data)


def attack(
    kind: str, seeds: list[bytes], path: Path, read: Callable, rebuild: Callable | None = None
) -> Counter:
    """Read many damaged files; return how many were read and how many refused.

    Args:
        kind: seed of the mutations.
        seeds: whole files.
        path: where each is written.
        read: reads it and raises ValueError or FileNotFoundError if it cannot.
        rebuild: makes a file from a seed and a function that damages, for every other file.
    """

    def late(*_) -> None:
        raise TimeoutError(f'{path} took more than {SECONDS} s')

    for seed in seeds:  # whole files are read, and what is imported late is there
        path.write_bytes(seed)
        read(str(path))
    rng, results = random.Random(kind), Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous = signal.signal(signal.SIGALRM, late)
    try:
        for i in range(COUNT):
            seed = rng.choice(seeds)
            whole = (
                rebuild(seed, lambda part: damage(part, seeds, rng), rng)
                if rebuild and i % 2
                else None
            )
            path.write_bytes(whole or damage(seed, seeds, rng))
            signal.alarm(SECONDS)
            with watch(Path(tempfile.gettempdir())) as seen:
                try:
                    read(str(path))
                    results['read'] += 1
                except (ValueError, FileNotFoundError) as error:
                    assert str(error)
                    results['refused'] += 1
            signal.alarm(0)
            assert not seen, seen
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024  # KiB
    print(kind, dict(results))
    return results


# annotation files


def annotations() -> dict:
    """Two splits and three small sequences with everything that the format knows."""
    found = [
        dict(
            frame_dir=name,
            label=i,
            total_frames=2,
            subject=i,
            keypoint=RNG.normal(size=(1 + i % 2, 2, 4, 3)),
        )
        for i, name in enumerate('abc')
    ]
    found[0].update(keypoint=found[0]['keypoint'].astype(np.float16), label=np.int64(0))
    found[1].update(keypoint_score=np.ones((2, 2, 4), np.float32))
    found[2].update(filename='c', img_shape=(4, 4), frame_dir='c' * 30)
    return dict(
        split=dict(train=['a', 'b'], val=['c' * 30]),
        annotations=found,
        metainfo=dict(layout=None, classes='xy'),
    )


def read_annotations(path: str) -> None:
    """As tools/prepare_data.py mmaction2 and a training without a cache do."""
    verify(path)
    dataset = SkeletonDataset(path, [], ['train', 'val'], invalid='drop', serialize_data=False)
    for i in range(len(dataset)):
        assert np.isfinite(dataset[i]['keypoint']).all()


def test_annotation_files(tmp_path):
    seeds = [
        pickle.dumps(content, protocol)
        for protocol in range(2, 6)
        for content in (
            annotations(),
            dict(annotations(), split=OrderedDict(train=['a'], val=['b'])),
        )
    ]
    results = attack('annotations', seeds, tmp_path / 'data.pkl', read_annotations)
    assert results['refused'] > COUNT / 5 and results['read'] > COUNT / 100


# checkpoints


def checkpoint(released: bool) -> dict:
    """A small checkpoint as ours, or as the released code saves them."""
    state = {name: value.clone() for name, value in network().state_dict().items()}
    if released:
        return OrderedDict({f'encoder_q.{name}': value for name, value in state.items()})
    return dict(
        state_dict=OrderedDict(state),
        meta=dict(epoch=1, iter=3, cfg='a = 1', seed=0, time=None),
        message_hub=dict(log_scalars=dict(loss=[[1.0, 2.0], [1, 1]]), runtime_info=dict(iter=3)),
        optimizer=dict(
            state={0: dict(buffer=torch.ones(3, 2))}, param_groups=[dict(lr=1, params=[0])]
        ),
        param_schedulers=[dict(last_step=1, milestones={3: 1}, verbose=False)],
    )


def network() -> nn.Module:
    """A network of two layers."""
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def saved(content, archive: bool) -> bytes:
    """A checkpoint file in one of torch's two formats."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


def with_member(seed: bytes, harm: Callable, rng: random.Random) -> bytes | None:
    """Return an archive with a damaged member, mostly the pickle; None for other formats."""
    if not seed.startswith(b'PK'):
        return None
    source, target = zipfile.ZipFile(io.BytesIO(seed)), io.BytesIO()
    names = source.namelist()
    victim = (
        next(name for name in names if name.endswith('data.pkl'))
        if rng.random() < 0.8
        else rng.choice(names)
    )
    with zipfile.ZipFile(target, 'w') as archive:
        for name in names:
            archive.writestr(name, harm(source.read(name)) if name == victim else source.read(name))
    return target.getvalue()


def read_checkpoint(path: str) -> None:
    """As evaluation, --pretrained and tools/export.py from_released do."""
    content = load_checkpoint_file(path)
    try:
        load_weights(network(), content, path, stream_prefix(content, path, None))
    finally:
        state = content.get('state_dict', content)
        if isinstance(state, dict):
            try:
                convert(state, True)
            except ValueError as error:
                assert str(error)


@pytest.mark.filterwarnings('ignore')
def test_checkpoints(tmp_path):
    seeds = [saved(checkpoint(released=False), archive) for archive in (True, False)]
    results = attack('checkpoints', seeds, tmp_path / 'data.pth', read_checkpoint, with_member)
    assert results['refused'] > COUNT / 5 and results['read'] > COUNT / 100


@pytest.mark.filterwarnings('ignore')
def test_released_checkpoints(tmp_path):
    def read(path: str) -> None:
        state = load_checkpoint_file(path)
        try:
            convert(state, True)
        except ValueError as error:
            assert str(error)

    seeds = [saved(checkpoint(released=True), archive) for archive in (True, False)]
    attack('released', seeds, tmp_path / 'data.pt', read, with_member)


# structure of archives; every record has a checksum, so that what is read must be the original


def rearranged(seed: bytes, _harm: Callable, rng: random.Random) -> bytes:
    return restructured(seed, rng)


def equal(one, other) -> bool:
    """Return whether nested containers hold the same values and arrays."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def zipped(members: dict[str, bytes], compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def read_recordings(path: str) -> dict:
    """As tools/prepare_data.py ntu60 does; name and coordinates of what can be read."""
    _open_archive.cache_clear()
    reader = READERS['ntu60'](list_files([path]))
    found = {}
    for recording in reader.recordings():
        try:
            for annotation in reader.read(recording):
                found[annotation['frame_dir']] = annotation['keypoint']
        except ValueError as error:
            assert str(error)
    if not found:
        raise ValueError('no recording is left')
    return found


def read_npz(path: str) -> dict:
    return fields_of(Path(path).read_bytes(), get_layout('ntu25'))


RECORDINGS = {f'S001C001P00{i}R001A00{i}.skeleton': ntu() for i in range(1, 4)}
ARRAYS = dict(keypoint=RNG.normal(size=(2, 25, 3)), keypoint_score=RNG.random((2, 25)))
FEATURES = FeatureSet(
    RNG.random((4, 3), np.float32), np.arange(4), np.arange(4) > 1, np.array(list('abcd'))
)
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def saved_arrays(save: Callable, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


STRUCTURES = {
    'data.pth': (lambda: [saved(checkpoint(False), True)], load_checkpoint_file),
    'ntu.zip': (
        lambda: [zipped(RECORDINGS, kind) for kind in (STORED, DEFLATED)],
        read_recordings,
    ),
    'own.npz': (
        lambda: [saved_arrays(save, **ARRAYS) for save in (np.savez, np.savez_compressed)],
        read_npz,
    ),
    'features.npz': (
        lambda: [saved_arrays(np.savez, **vars(FEATURES))],
        lambda path: vars(FeatureSet.load(path)),
    ),
}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', STRUCTURES)
def test_structure_of_archives(tmp_path, name):
    """Names, directories, offsets, gaps: what is read is the original, or nothing."""
    make, read = STRUCTURES[name]
    torch.manual_seed(0)
    seeds = make()
    path = tmp_path / name
    path.write_bytes(seeds[0])
    expected = read(str(path))

    def read_the_same(changed: str) -> None:
        found = read(changed)
        if name == 'ntu.zip':  # a part of the recordings may be left
            assert set(found) <= set(expected)
        assert equal(found, {key: expected[key] for key in found})

    results = attack(f'structure of {name}', seeds, path, read_the_same, rearranged)
    assert results['refused'] > COUNT / 5


# manifests and layouts

ROWS = [
    dict(path='a.npy', label='walk', split='train', subject='1', camera='left', name='first'),
    dict(
        path='b/c.csv',
        label='run',
        split='train;val',
        subject='2',
        camera='',
        name='zweite Aufnahme',
    ),
    dict(path='/tmp/none.json', label='', split='', subject='', camera='', name=''),
]
QUOTED = '"d, e.txt",walk,"ab",,"x ""y""",z'
CSV = '\r\n'.join([','.join(ROWS[0]), *(','.join(row.values()) for row in ROWS), QUOTED, ''])
TABS = CSV.replace(';', '').replace('d, e', 'd e').replace(',', '\t')
JSON = json.dumps([*ROWS, dict(path='d.npy', label='hop', split=['a', 'b'], subject=None)])
LINES = ''.join(json.dumps(row) + '\n' for row in ROWS)
LAYOUT = """# a skeleton
bones: {hip: hip, spine: hip, neck: spine, left_shoulder: neck, left_hand: left_shoulder,
        right_shoulder: neck, right_hand: right_shoulder}
center: spine
dims: 3
"""
LONG_LAYOUT = """joints: [hip, "spine", 'neck', left_a, right_a]
parents: [hip, hip, spine, neck, neck]
center: spine
shoulders: [left_a, right_a]
extra_edges:
- [neck, hip]
name: mine
"""


def read_manifest(path: str) -> None:
    """As tools/prepare_data.py custom does."""
    reader = READERS['custom'](list_files([path]))
    for recording in reader.recordings():
        try:
            reader.read(recording)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    'ending, seeds',
    [
        ('csv', [CSV, TABS, TABS.replace('\t', ';'), '\ufeffpath\na.npy\n']),
        ('json', [JSON, json.dumps(ROWS, indent=1)]),
        ('jsonl', [LINES]),
    ],
)
def test_manifests(tmp_path, ending, seeds):
    np.save(tmp_path / 'a.npy', np.ones((2, 25, 3)))
    results = attack(
        ending, [seed.encode() for seed in seeds], tmp_path / f'm.{ending}', read_manifest
    )
    assert results['refused'] > COUNT / 10 and results['read'] > COUNT / 100


def test_layouts(tmp_path):
    results = attack(
        'yaml', [LAYOUT.encode(), LONG_LAYOUT.encode()], tmp_path / 'layout.yaml', get_layout
    )
    assert results['refused'] > COUNT / 5 and results['read'] > COUNT / 100
