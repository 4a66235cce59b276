"""The demonstration's table and the pictures of a training."""

import importlib.util
import json
from pathlib import Path

import matplotlib.image
import pytest

from aimclr_mm.visualization.plots import plot_training, read_scalars

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


def test_picture_is_drawn(tmp_path):
    """The picture is an image with something on it; a line that was cut short is passed over."""
    folder = tmp_path / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    records = [
        dict(epoch=e, step=6 * e, loss=10.0 / e, chance=12.0, cosine=1.0 / e) for e in range(1, 5)
    ]
    records.append({'step': 4, 'knn/top1': 50.0})
    (folder / 'scalars.json').write_text(
        ''.join(json.dumps(record) + '\n' for record in records) + '{"step": 5, "kn'
    )
    assert read_scalars(str(tmp_path)) == records
    plot_training(records, str(tmp_path / 'training.png'))
    image = matplotlib.image.imread(tmp_path / 'training.png')
    assert min(image.shape[:2]) > 300 and image[..., :3].std() > 0.02


def test_folder_without_a_training_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no work directory of a training'):
        read_scalars(str(tmp_path))
