"""What the validation lacks is said before the first epoch."""

from types import SimpleNamespace

import pytest

from aimclr_mm.datasets import SkeletonDataset
from aimclr_mm.datasets.own_files import read_recordings
from aimclr_mm.engine.validation_check import check_validation
from aimclr_mm.evaluation.metrics import ClassifierMetric, KNNMetric
from tests.datasets.conftest import write  # noqa: F401
from tests.datasets.helpers import annotation


def runner(dataset, *metrics) -> SimpleNamespace:
    loader, evaluator = SimpleNamespace(dataset=dataset), SimpleNamespace(metrics=metrics)
    return SimpleNamespace(val_loop=SimpleNamespace(dataloader=loader, evaluator=evaluator))


@pytest.mark.parametrize('label', [-1, None])
def test_unlabelled_data_and_single_splits(write, label):  # noqa: F811
    data = dict(
        annotations=[annotation('a', 0), annotation('b', label), annotation('c', 1)],
        split=dict(train=['a', 'c'], val=['b'], good=['c']),
    )
    path = write(data)
    with pytest.raises(ValueError, match='1 of 3 sequences of val_dataloader have no label.*--no-'):
        check_validation(runner(SkeletonDataset(path, [], ['train', 'val']), KNNMetric()))
    labeled = SkeletonDataset(path, [], 'train')
    with pytest.raises(ValueError, match="split='train', but KNNMetric needs a gallery"):
        check_validation(runner(labeled, KNNMetric()))
    check_validation(runner(labeled, ClassifierMetric()))
    check_validation(runner(SkeletonDataset(path, [], ['train', 'good']), KNNMetric()))
    check_validation(runner([1, 2], KNNMetric()))  # data of another kind
    check_validation(SimpleNamespace(val_loop=None))
    assert [r['label'] for r in read_recordings(path)] == ['0', None, '1']
