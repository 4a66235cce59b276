"""Records stored as columns and restored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimclr_mm.datasets.columns import pack, to_columns, to_records, unpack

VALUES = st.one_of(
    st.integers(),
    st.text(max_size=5),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.tuples(st.integers(), st.integers()),
)
COLUMNS = st.one_of(st.lists(VALUES), st.lists(st.integers()), st.lists(st.text(max_size=120)))


def same(a: list, b: list) -> bool:
    return a == b and [type(value) for value in a] == [type(value) for value in b]


@given(COLUMNS)
def test_column_is_kept(values):
    assert same(unpack(pack(values)), values)


@given(
    st.lists(
        st.fixed_dictionaries(
            dict(a=VALUES, b=st.integers(0, 9), c=st.just('x')), optional=dict(d=VALUES)
        )
    )
)
def test_records_are_kept(records):
    again = to_records(to_columns(records))
    assert again == records and [list(record) for record in again] == [
        list(record) for record in records
    ]


def test_numbers_and_names_are_arrays():
    table = to_columns([dict(frame_dir=f'S{i:03d}', label=i, shape=(1, 2)) for i in range(5)])
    assert [type(column) for column in table['columns']] == [np.ndarray, np.ndarray, list]
    assert isinstance(pack(['x' * 101, 'y']), list) and isinstance(pack(['zero\0', 'y']), list)
    assert (
        isinstance(pack([2**63, 1]), list) and isinstance(pack([True, 1]), list) and pack([]) == []
    )


@pytest.mark.parametrize('columns', [[[1, 2]], [[1, 2], [3]]])
def test_columns_that_do_not_fit(columns):
    with pytest.raises(ValueError, match='different lengths'):
        to_records(dict(keys=['a', 'b'], columns=columns))
