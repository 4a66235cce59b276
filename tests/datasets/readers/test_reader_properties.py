"""Property tests: round trips of readers and pickles, and balanced draws of labels."""

import io
import json
import pickle
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aimclr_mm.datasets.own_files.fields import read_fields
from aimclr_mm.datasets.readers import SourceFile
from aimclr_mm.datasets.readers.ntu import read_bodies
from aimclr_mm.datasets.subset import balanced_draw
from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.pickles import read_pickle
from tests.strategies import SEEDS


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=80),
    fraction=st.floats(0.001, 1),
    seed=SEEDS,
)
def test_balanced_draws(labels, fraction, seed):
    drawn, sizes = balanced_draw(labels, fraction, seed), Counter(labels)
    assert np.array_equal(drawn, np.unique(drawn)) and np.array_equal(
        drawn, balanced_draw(labels, fraction, seed)
    )
    counts = Counter(labels[i] for i in drawn)
    assert counts.keys() == sizes.keys()
    for label, size in sizes.items():
        assert max(1, int(fraction * size)) <= counts[label] <= max(1, int(fraction * size) + 1)
    assert len(drawn) >= int(np.floor(fraction * len(labels) + 0.5)) - len(sizes)
    assert len(balanced_draw(labels, 1.0, seed)) == len(labels)


@st.composite
def recordings(draw) -> tuple[Layout, np.ndarray, bool]:
    """Draw a chain layout, keypoints (M, T, V, C) float32, and whether C holds a score."""
    joints, dims, score = (
        draw(st.integers(2, 7)),
        draw(st.sampled_from([2, 3])),
        draw(st.booleans()),
    )
    names = ('left_shoulder', 'right_shoulder', *(f'j{i}' for i in range(joints - 2)))
    layout = Layout('chain', names, (names[0], *names[:-1]), names[0], dims)
    rng = np.random.default_rng(draw(SEEDS))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 6)), joints, dims + score
    return layout, (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)).astype(np.float32), score


@pytest.mark.parametrize('form', ['npy', 'npz', 'csv', 'json'])
@given(
    recording=recordings(),
    separator=st.sampled_from([',', ';', ' ', '\t']),
    order=st.sampled_from('CF'),
)
def test_own_recordings_come_back(form, recording, separator, order):
    layout, array, score = recording
    people, frames, joints, channels = array.shape
    rows = array.swapaxes(0, 1).reshape(frames, -1)
    if form == 'csv':
        both = [d for d in (layout.dims, layout.dims + 1) if rows.shape[1] % (joints * d) == 0]
        assume(both == [channels])  # otherwise the reader asks for another format
        content = ''.join(separator.join(map(repr, row)) + '\n' for row in rows.tolist()).encode()
    elif form == 'json':
        content = json.dumps(array.tolist()).encode()
    else:
        file = io.BytesIO()
        np.save(file, np.asarray(array, order=order)) if form == 'npy' else np.savez(
            file, keypoint=array
        )
        content = file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f'a.{form}')
        path.write_bytes(content)
        fields = read_fields(SourceFile.of(str(path), path.name), layout)
    keypoint, scores = fields['keypoint'], fields.get('keypoint_score')
    assert keypoint.dtype == np.float32 and np.array_equal(keypoint, array[..., : layout.dims])
    assert (scores is None) != score and (not score or np.array_equal(scores, array[..., -1]))


@given(
    bodies=st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any),
    seed=SEEDS,
    digits=st.integers(1, 12),
    spaces=st.sampled_from([' ', '  ', '\t']),
    newline=st.sampled_from(['\n', '\r\n']),
)
def test_ntu_files_come_back(bodies, seed, digits, spaces, newline):
    rng, expected = (
        np.random.default_rng(seed),
        np.zeros((max(bodies), len(bodies), 25, 3), np.float32),
    )
    lines = [str(len(bodies))]
    for frame, count in enumerate(bodies):
        lines.append(str(count))
        for place in range(count):
            values = [
                [f'{value:.{digits}f}' for value in row] for row in rng.normal(size=(25, 12)) * 3
            ]
            expected[place, frame] = np.array([row[:3] for row in values], dtype=np.float64)
            lines += [spaces.join(map(str, range(10))), '25', *(spaces.join(row) for row in values)]
    assert np.array_equal(read_bodies(newline.join([*lines, '']).encode()), expected)


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=9),
    st.binary(max_size=9),
    st.complex_numbers(allow_nan=False),
)
PLAIN = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(st.text(max_size=4), max_size=4),
        st.frozensets(st.integers(), max_size=4),
        st.binary(max_size=9).map(bytearray),
    ),
    max_leaves=20,
)


@given(content=PLAIN, protocol=st.integers(0, 5))
@settings(max_examples=100)
def test_plain_pickles_come_back(content, protocol):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'a.pkl')
        path.write_bytes(pickle.dumps(content, protocol))
        assert read_pickle(str(path)) == content


@given(
    protocol=st.integers(0, 5),
    shape=st.lists(st.integers(0, 4), max_size=4),
    fortran=st.booleans(),
    seed=SEEDS,
    kind=st.sampled_from(['?', 'u1', 'i2', '<i4', '>i8', 'f2', '>f4', 'f8', 'c8', 'S3', 'U2']),
)
@settings(max_examples=100)
def test_pickled_arrays_come_back(protocol, shape, fortran, seed, kind):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 100, shape).astype(kind)
    array = array.transpose(rng.permutation(array.ndim)) if fortran else array
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'a.pkl')
        path.write_bytes(pickle.dumps([array, *array.flat], protocol))
        ours, *scalars = read_pickle(str(path))
    assert ours.dtype == array.dtype and ours.shape == array.shape and np.array_equal(ours, array)
    assert ours.flags.writeable and scalars == list(array.flat)
    assert [type(scalar) for scalar in scalars] == [type(scalar) for scalar in array.flat]
