"""Fixtures of the dataset tests."""

import pytest

from aimclr_mm.datasets import write_pickle


@pytest.fixture
def write(tmp_path):
    """A function that writes annotations and returns the path."""

    def writer(data, name='data.pkl') -> str:
        write_pickle(data, str(tmp_path / name))
        return str(tmp_path / name)

    return writer
