"""Prepared folders of the released code: reading, refused files, bitwise round trip."""

import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest

from aimclr_mm.datasets import prepare as driver
from aimclr_mm.datasets.annotations import load_annotations
from aimclr_mm.datasets.readers.released import ReleasedReader
from aimclr_mm.datasets.readers.released_export import export
from aimclr_mm.datasets.readers.sources import RecordingError, list_files

FRAMES = 6
# not in alphabetical order, like the PKU-MMD lists of the authors
NAMES = [
    f'S{s:03}C{c:03}P{p:03}R002A{a:03}.skeleton'
    for s, c, p, a in ((1, 2, 1, 7), (1, 1, 2, 60), (17, 3, 1, 7), (2, 1, 8, 50), (3, 2, 3, 1))
]


def positions_of(name: str, frames: int = FRAMES) -> np.ndarray:
    """Return random positions (3, T, 25, 2) of a name; every second class has one person."""
    rng = np.random.default_rng(list(name.encode()))
    positions = rng.normal(size=(3, frames, 25, 2)).astype(np.float32)
    if label_of(name) % 2:
        positions[..., 1] = 0
    return positions


def label_of(name: str) -> int:
    return int(name.split('A')[-1][:3]) - 1


def write_part(folder, part: str, names: list[str], labels=None, positions=None) -> None:
    """Write the two files of a split."""
    folder.mkdir(parents=True, exist_ok=True)
    positions = np.stack([positions_of(name) for name in names]) if positions is None else positions
    np.save(folder / f'{part}_position.npy', positions)
    labels = [label_of(name) for name in names] if labels is None else labels
    (folder / f'{part}_label.pkl').write_bytes(pickle.dumps((names, labels)))


@pytest.fixture
def source(tmp_path):
    """Write two benchmarks of five sequences."""
    folder = tmp_path / 'ntu60_frame50'
    write_part(folder / 'xsub', 'train', [NAMES[2], NAMES[0], NAMES[3]])
    write_part(folder / 'xsub', 'val', [NAMES[4], NAMES[1]])
    write_part(folder / 'xview', 'train', [NAMES[4], NAMES[2], NAMES[0]])
    write_part(folder / 'xview', 'val', [NAMES[1], NAMES[3]])
    return folder


def read(*sources, **options) -> dict:
    return ReleasedReader(list_files(list(map(str, sources))), **options).dataset()


def test_values_names_labels_and_splits(source):
    data = read(source)
    assert data['metainfo'] == dict(
        dataset='official', layout='ntu25', preprocessed=True, benchmark=None
    )
    assert [a['frame_dir'] for a in data['annotations']] == [NAMES[i][:20] for i in (2, 0, 3, 4, 1)]
    first = data['annotations'][0]
    stored = positions_of(NAMES[2])
    assert first['keypoint'].shape == (2, FRAMES, 25, 3) and first['keypoint'].dtype == np.float32
    assert first['keypoint'].flags['C_CONTIGUOUS'] and first['total_frames'] == FRAMES
    assert (
        first['keypoint'][1, 3, 20, 2] == stored[2, 3, 20, 1]
        and first['keypoint'][0, 5, 0, 1] == stored[1, 5, 0, 0]
    )
    assert (first['label'], first['setup'], first['camera'], first['subject']) == (6, 17, 3, 1)
    assert data['split']['xview_val'] == [NAMES[3][:20], NAMES[1][:20]]
    assert data['split']['xsub_train'] == [NAMES[i][:20] for i in (2, 0, 3)]


def test_second_person_of_zeros_is_left_out_and_one_of_minus_zeros_is_not(tmp_path):
    positions = np.zeros((2, 3, FRAMES, 25, 2), np.float32)
    positions[..., 0] = 1
    positions[1, 0, 0, 0, 1] = -0.0
    write_part(tmp_path / 'xsub', 'train', NAMES[:2], positions=positions)
    one, two = read(tmp_path)['annotations']
    assert one['keypoint'].shape[0] == 1 and two['keypoint'].shape[0] == 2
    assert np.signbit(two['keypoint'][1, 0, 0, 0])


def test_one_benchmark_given_by_its_own_folder(source):
    assert set(read(source / 'xview')['split']) == {'xview_train', 'xview_val'}
    both = {'xview_train', 'xview_val', 'xsub_train', 'xsub_val'}
    assert set(read(source / 'xview', source / 'xsub')['split']) == both


def test_folders_of_other_names(source, tmp_path):
    (source / 'xview').rename(source / 'xsetup')
    assert 'xset_val' in read(source)['split']
    (source / 'xsetup').rename(source / 'xother')
    assert 'xother_val' in read(source)['split']
    shutil.copytree(source / 'xsub', tmp_path / 'data')
    with pytest.raises(ValueError, match="'data' does not name the benchmark; give --benchmark"):
        read(tmp_path / 'data')
    assert set(read(tmp_path / 'data', benchmark='xsub')['split']) == {'xsub_train', 'xsub_val'}
    with pytest.raises(ValueError, match="benchmark='../x'"):
        read(tmp_path / 'data', benchmark='../x')


def test_labels_may_lie_in_another_folder(source, tmp_path):
    for benchmark in ('xsub', 'xview'):
        (tmp_path / 'raw' / benchmark).mkdir(parents=True)
        for part in ('train', 'val'):
            (source / benchmark / f'{part}_label.pkl').rename(
                tmp_path / 'raw' / benchmark / f'{part}_label.pkl'
            )
    with pytest.raises(ValueError, match=r'train_position.npy has no label.pkl .*ntu_gendata.py'):
        read(source)
    assert len(read(source, tmp_path / 'raw')['annotations']) == 5
    assert len(read(source / 'xsub', tmp_path / 'raw')['annotations']) == 5


def test_published_numbers_of_the_data_set_that_the_labels_show(source):
    reader = ReleasedReader(list_files([str(source)]))
    reader.recordings()
    assert reader.published == dict(
        xsub_train=40091, xsub_val=16487, xview_train=37646, xview_val=18932
    )
    assert reader.num_classes == 60
    write_part(source / 'xsub', 'train', NAMES[2:3], labels=[50])
    write_part(source / 'xsub', 'val', NAMES[:1], labels=[3])
    reader = ReleasedReader(list_files([str(source / 'xsub')]))
    reader.recordings()
    assert reader.published == {} and reader.num_classes is None


# refused files


def test_source_without_positions(tmp_path):
    (tmp_path / 'train_data.npy').write_bytes(b'')
    with pytest.raises(ValueError, match='no train_position.npy or val_position.npy'):
        read(tmp_path)


def test_archive(source, tmp_path):
    with zipfile.ZipFile(tmp_path / 'ntu60.zip', 'w') as archive:
        archive.write(source / 'xsub' / 'val_position.npy', 'xsub/val_position.npy')
    with pytest.raises(ValueError, match='unpack it first'):
        read(tmp_path / 'ntu60.zip')


def test_two_data_sets_at_once(source, tmp_path):
    shutil.copytree(source, tmp_path / 'pku_part1_frame50')
    with pytest.raises(ValueError, match='for split xsub_train; give the folder of one data set'):
        read(tmp_path)


def damaged_header(shape: str) -> bytes:
    header = (
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode()
        + b'\n'
    )
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + b'\0' * 400


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\x93NUMPY',
        b'PK\x03\x04 no',
        bytes(range(256)) * 9,
        b'[1, 2, 3]\r\n',
        pickle.dumps([1, 2]),
        damaged_header('(1000000000, 3, 50, 25, 2)'),
        damaged_header('(-4, 3, 50, 25, 2)'),
        damaged_header('(10**40, 3)'),
        damaged_header('(1' + '0' * 40 + ', 3, 50, 25, 2)'),
        damaged_header("('a', 3)"),
        np.array([object()]).dumps(),
    ],
    ids=range(12),
)
def test_positions_that_are_damaged(source, content):
    (source / 'xsub' / 'val_position.npy').write_bytes(content)
    with pytest.raises(ValueError, match='val_position.npy.*(not a readable .npy file|has shape)'):
        read(source)


def test_positions_that_are_truncated(source):
    path = source / 'xview' / 'train_position.npy'
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match='not a readable .npy file .* download it again'):
        read(source)


@pytest.mark.parametrize(
    'shape, dtype, message',
    [
        (
            (3, 3, 6, 20, 2),
            'f4',
            r'has shape \(3, 3, 6, 20, 2\); positions are \(N, 3, frames, 25, 2\)',
        ),
        ((3, 3, 6, 25, 1), 'f4', 'has shape'),
        ((3, 3, 0, 25, 2), 'f4', 'has shape'),
        ((3, 6), 'f4', 'has shape'),
        ((3, 2, 6, 25, 2), 'f4', 'has shape'),
        ((3, 3, 6, 25, 2), 'f8', 'holds float64; positions are float32'),
        ((3, 3, 6, 25, 2), 'i4', 'holds int32'),
        ((2, 3, 6, 25, 2), 'f4', 'has 2 sequences, but .*label.pkl has 3'),
    ],
)
def test_positions_of_another_kind(source, shape, dtype, message):
    np.save(source / 'xsub' / 'train_position.npy', np.ones(shape, dtype))
    with pytest.raises(ValueError, match=message):
        read(source)


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'readable annotation file'),
        (b'\x80\x04junk', 'readable'),
        (pickle.dumps(os.system), 'refers to'),
        (pickle.dumps([1, 2, 3]), 'not hold a pair'),
        (pickle.dumps(5), 'not hold a pair'),
        (pickle.dumps((5, 6)), 'not hold a pair'),
        (pickle.dumps((['a', 'b', 'c'], [1, 2])), 'has 3 names but 2 labels'),
        (pickle.dumps((['a', 'b', [1]], [1, 2, 3])), r'has \[1\] among its names'),
        (pickle.dumps((['a', 'b', '.skeleton'], [1, 2, 3])), "has '.skeleton' among its names"),
    ],
)
def test_labels_that_are_damaged(source, content, message):
    (source / 'xsub' / 'train_label.pkl').write_bytes(content)
    with pytest.raises(ValueError, match=f'train_label.pkl.*{message}'):
        read(source)


@pytest.mark.parametrize('label', [-1, 2.5, 'a', None, True, [1]])
def test_a_label_that_is_wrong(tmp_path, label):
    write_part(tmp_path / 'xsub', 'train', NAMES[:2], labels=[3, label])
    reader = ReleasedReader(list_files([str(tmp_path)]))
    good, bad = reader.recordings()
    assert reader.read(good)[0]['label'] == 3
    with pytest.raises(RecordingError, match='must be a whole number from 0'):
        reader.read(bad)


def test_benchmarks_that_contradict_each_other(source):
    write_part(source / 'xview', 'val', [NAMES[1], NAMES[3]], labels=[label_of(NAMES[1]), 7])
    reader = ReleasedReader(list_files([str(source)]))
    with pytest.raises(RecordingError, match='label is 49, but 7 in xview_val, row 1'):
        reader.read(reader.recordings()[2])
    positions = np.stack([positions_of(NAMES[1]), positions_of(NAMES[3])])
    positions[0, 0, 0, 0, 0] += 1e-6
    write_part(source / 'xview', 'val', [NAMES[1], NAMES[3]], positions=positions)
    reader = ReleasedReader(list_files([str(source)]))
    with pytest.raises(
        RecordingError, match='row 0 .*xview.*val_position.npy.* other positions; convert'
    ):
        reader.read(reader.recordings()[4])
    assert reader.read(reader.recordings()[2])[0]['label'] == 49


def test_driver_reports_what_it_leaves_out(source, tmp_path):
    positions = np.stack([positions_of(name) for name in NAMES[:2]] * 2)
    positions[1, 0, 0, 0, 0] = np.nan
    write_part(
        tmp_path / 'p' / 'xsub',
        'train',
        [NAMES[0], NAMES[1], NAMES[0], 'F001V001C001L001.skeleton'],
        labels=[1, 2, 1, -3],
        positions=positions,
    )
    summary = driver.prepare(
        ReleasedReader(list_files([str(tmp_path / 'p')])), str(tmp_path / 'out.pkl'), workers=1
    )
    assert summary.sequences == 1 and summary.splits == dict(xsub_train=1)
    problems = '\n'.join(summary.problems)
    assert (
        f'train_position.npy: row 1 ({NAMES[1]}): holds coordinates that are not finite' in problems
    )
    assert 'row 3 (F001V001C001L001.skeleton): its label is -3' in problems
    assert (
        f'{NAMES[0][:20]}: a second sequence of this name' in problems
        and len(summary.problems) == 3
    )


# round trip


def test_round_trip_is_exact(source, tmp_path):
    summary = driver.prepare(
        ReleasedReader(list_files([str(source)])), str(tmp_path / 'a.pkl'), workers=1
    )
    assert (
        summary.sequences == 5 and summary.problems == [] and dict(summary.people) == {1: 2, 2: 3}
    )
    counts = export(str(tmp_path / 'a.pkl'), str(tmp_path / 'back'))
    assert counts == dict(xsub_train=3, xsub_val=2, xview_train=3, xview_val=2)
    names = {path.relative_to(source) for path in source.rglob('*.*')}
    assert (
        len(names) == 8
        and {path.relative_to(tmp_path / 'back') for path in tmp_path.glob('back/*/*')} == names
    )
    for name in names:
        if name.suffix == '.npy':
            assert (source / name).read_bytes() == (tmp_path / 'back' / name).read_bytes()
        else:
            assert pickle.loads((source / name).read_bytes()) == pickle.loads(
                (tmp_path / 'back' / name).read_bytes()
            )
    driver.prepare(
        ReleasedReader(list_files([str(tmp_path / 'back')])), str(tmp_path / 'b.pkl'), workers=1
    )
    first, second = (load_annotations(str(tmp_path / name)) for name in ('a.pkl', 'b.pkl'))
    assert first['split'] == second['split']
    for a, b in zip(first['annotations'], second['annotations'], strict=True):
        assert a.pop('keypoint').tobytes() == b.pop('keypoint').tobytes() and a == b


def test_names_without_the_usual_ending_come_back_too(tmp_path):
    names = ['walk.01', 'run.skeleton']
    write_part(
        tmp_path / 'in' / 'xsub',
        'val',
        names,
        [0, 1],
        np.stack([positions_of(name) for name in NAMES[:2]]),
    )
    driver.prepare(
        ReleasedReader(list_files([str(tmp_path / 'in')])), str(tmp_path / 'a.pkl'), workers=1
    )
    export(str(tmp_path / 'a.pkl'), str(tmp_path / 'back'))
    assert pickle.loads((tmp_path / 'back/xsub/val_label.pkl').read_bytes()) == (names, [0, 1])
