"""The demonstration's table."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def demo():
    """tools/demo.py as a module."""
    spec = importlib.util.spec_from_file_location('demo', ROOT / 'tools' / 'demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_gives_mean_and_spread(demo):
    runs = [{'knn/top1': 40.0, 'linear/top1': 10.0}, {'knn/top1': 44.0, 'linear/top1': 10.0}]
    lines = demo.table({'raw': runs[:1], 'learnt': runs}).splitlines()
    assert lines[0].split('|')[1:4] == [' representation ', ' KNN top-1  ', ' linear top-1 ']
    assert [cell.strip() for cell in lines[2].split('|')[1:4]] == ['raw', '40.0', '10.0']
    assert [cell.strip() for cell in lines[3].split('|')[1:4]] == [
        'learnt',
        '42.0 ± 2.0',
        '10.0 ± 0.0',
    ]
    assert len({len(line) for line in lines}) == 1
