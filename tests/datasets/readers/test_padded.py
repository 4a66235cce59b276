"""NTU as 2s-AGCN and CTR-GCN prepare it: sequences come back without their padding."""

import pickle

import numpy as np
import pytest

from aimclr_mm.datasets.readers import PaddedReader, ReleasedReader, list_files
from aimclr_mm.datasets.readers.padded import trim

LENGTHS = (300, 103, 40, 7)
NAMES = [f'S001C00{i % 3 + 1}P001R001A00{i + 1}.skeleton' for i in range(len(LENGTHS))]


def sequence(index: int) -> np.ndarray:
    """(M, T, 25, 3); the first two have two people."""
    shape = 2 if index < 2 else 1, LENGTHS[index], 25, 3
    return np.random.default_rng(index).normal(size=shape).astype(np.float32)


def padded(x: np.ndarray, repeat: bool, frames: int = 300) -> np.ndarray:
    """(2, 300, 25, 3): repeated from the beginning as 2s-AGCN does, or zeros."""
    result = np.zeros((2, frames, 25, 3), np.float32)
    result[: len(x), : x.shape[1]] = x
    if repeat:
        result[: len(x)] = x[:, np.arange(frames) % x.shape[1]]
    return result


def write_agcn(folder, repeat: bool, stem: str = 'data_joint') -> None:
    folder.mkdir(parents=True)
    for part, members in dict(train=(0, 1, 2), val=(3,)).items():
        positions = np.stack([padded(sequence(i), repeat).transpose(3, 1, 2, 0) for i in members])
        np.save(folder / f'{part}_{stem}.npy', positions)
        names = [NAMES[i] for i in members]
        (folder / f'{part}_label.pkl').write_bytes(pickle.dumps((names, list(members))))


def read(folder, reader=PaddedReader, **options) -> dict:
    return reader(list_files([str(folder)]), **options).dataset()


def check(data: dict, split: dict) -> None:
    assert data['split'] == split and not data['metainfo']['preprocessed']
    for index, annotation in enumerate(data['annotations']):
        np.testing.assert_array_equal(annotation['keypoint'], sequence(index))
        assert annotation['total_frames'] == LENGTHS[index] and annotation['label'] == index


@pytest.mark.parametrize('repeat', [True, False])
@pytest.mark.parametrize('stem', ['data_joint', 'data', 'position'])
def test_folders_of_2s_agcn(tmp_path, repeat, stem):
    write_agcn(tmp_path / 'ntu' / 'xview', repeat, stem)
    names = [name.removesuffix('.skeleton') for name in NAMES]
    check(read(tmp_path), dict(xview_train=names[:3], xview_val=names[3:]))


def test_padded_arrays_are_not_taken_for_preprocessed(tmp_path):
    write_agcn(tmp_path / 'xsub', True, 'position')
    with pytest.raises(ValueError, match='300 frames a sequence: it is padded.*data.py padded'):
        read(tmp_path, ReleasedReader)


@pytest.mark.parametrize('name, benchmark', [('NTU60_CS', 'xsub'), ('NTU120_CSet', 'xset')])
def test_npz_of_ctr_gcn(tmp_path, name, benchmark):
    x = np.stack([padded(sequence(i), False).swapaxes(0, 1).reshape(300, 150) for i in range(4)])
    y = np.eye(60)[:4]
    np.savez(tmp_path / f'{name}.npz', x_train=x[:3], y_train=y[:3], x_test=x[3:], y_test=y[3:])
    names = [f'train_{i:06}' for i in range(3)]
    expected = {f'{benchmark}_train': names, f'{benchmark}_val': ['test_000000']}
    check(read(tmp_path), expected)


def test_npz_that_does_not_fit(tmp_path):
    x, y = np.zeros((2, 300, 150), np.float32), np.eye(2)
    np.savez(tmp_path / 'NTU60_CS.npz', x_train=x, y_train=y[:1], x_test=x, y_test=y)
    with pytest.raises(ValueError, match=r'x_train has shape \(2, 300, 150\) and y_train \(1, 2\)'):
        read(tmp_path)
    np.savez_compressed(tmp_path / 'NTU60_CS.npz', x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(ValueError, match='x_train cannot be read .it is compressed'):
        read(tmp_path)
    (tmp_path / 'NTU60_CS.npz').rename(tmp_path / 'mine.npz')
    with pytest.raises(ValueError, match='does not tell the benchmark.*--benchmark'):
        read(tmp_path)


def test_trim_keeps_what_only_looks_like_padding():
    """A sequence that returns to its first pose once is no repetition."""
    x = sequence(2)
    x[:, 20] = x[:, 0]
    assert trim(x).shape == x.shape
    assert trim(np.zeros((2, 5, 25, 3), np.float32)).shape[1] == 1
    both = padded(sequence(1), True)
    both[1] = padded(sequence(1)[:, :50], True)[1]  # 2s-AGCN repeats each person for itself
    np.testing.assert_array_equal(trim(both), both[:, :103])
