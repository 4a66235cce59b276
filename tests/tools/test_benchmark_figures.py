"""Arithmetic, data and checks of tools/benchmarks; test_benchmark.py runs the parts."""

import pickle
import time

import numpy as np
import pytest
import torch
from benchmarks import features, timing, workload
from benchmarks.step import category
from torch.utils.benchmark import Measurement
from torch.utils.benchmark.utils.common import TaskSpec

from aimclr_mm.datasets import SkeletonDataset


def test_ratio_is_that_of_the_rounds_and_not_of_the_medians():
    cases = dict(
        ours=timing.Case(None, 10),
        theirs=timing.Case(None, 10, peer=True),
        other=timing.Case(None, 5),
    )
    times = dict(ours=[1.0, 2.0, 4.0], theirs=[8.0, 2.0, 12.0], other=[1.0, 1.0, 1.0])
    measured = {name: Measurement(1, value, TaskSpec('', '')) for name, value in times.items()}
    result = timing.figures(cases, measured)

    ratio = dict(median=3.0, min=1.0, max=8.0, rounds=[8.0, 1.0, 3.0])
    assert result['ratio']['ours'] == dict(theirs=ratio)
    assert set(result['ratio']) == {'ours', 'other'}
    seconds = dict(median=2.0, min=1.0, max=4.0, rounds=[1.0, 2.0, 4.0])
    assert result['measured']['ours'] == dict(samples=10, seconds=seconds, samples_per_second=5.0)


def test_cases_take_turns_and_run_once_before_each_measurement(monkeypatch):
    monkeypatch.setattr(timing, 'MIN_SECONDS', 0.001)
    order = []

    def case(name: str, seconds: float) -> timing.Case:
        def run() -> None:
            order.append(name)
            time.sleep(seconds)

        return timing.Case(run, 1)

    times = timing.alternate('x', dict(a=case('a', 0.01), b=case('b', 0.03)), rounds=2)
    assert ''.join(order) == 'aabbaabb'
    assert len(times['a'].times) == 2 and min(times['a'].times) >= 0.01
    assert len(times['b'].times) == 2 and min(times['b'].times) >= 0.03


@pytest.mark.parametrize(
    'name, expected',
    [
        ('aten::mkldnn_convolution', 'convolution'),
        ('aten::convolution_backward', 'convolution'),
        ('aten::addmm', 'matrix product'),
        ('aten::bmm', 'matrix product'),
        ('aten::native_batch_norm_backward', 'batch norm'),
        ('aten::copy_', 'copy'),
        ('aten::threshold_backward', 'elementwise and reduction'),
        ('autograd::engine', 'other'),
    ],
)
def test_categories_of_operators(name, expected):
    assert category(name) == expected


@pytest.fixture
def settings(tmp_path, monkeypatch) -> workload.Settings:
    """Sequences of five frames; a quarter of them has a second person."""
    monkeypatch.setattr(workload, 'FRAMES', 5)
    monkeypatch.setattr(workload, 'PAIRS', 0.25)
    return workload.Settings(str(tmp_path), batch=2, queue=64, mining=True, workers=0)


def test_skeletons_have_the_share_of_second_persons(settings):
    x = workload.skeletons(settings, 8)
    assert x.shape == (8, 2, 5, 25, 3) and x.dtype == np.float32
    assert [int((x[:, m] != 0).all(axis=(1, 2, 3)).sum()) for m in range(2)] == [8, 2]
    assert (x[:, 1] != 0).any(axis=(1, 2, 3)).sum() == 2


def test_annotation_file_gives_the_data_back_through_the_data_set(settings):
    x = workload.skeletons(settings, 6)
    path = workload.write_annotations(settings, x, queries=2)
    cfg = workload.build_config(settings, ann_file=path).test_dataloader.dataset
    cfg.pop('type')
    samples = list(SkeletonDataset(**cfg))
    assert np.array_equal(np.stack([sample['inputs'][0] for sample in samples]), x)
    assert [sample['data_samples'].role for sample in samples] == ['gallery'] * 4 + ['query'] * 2


def test_released_files_hold_the_same_data(settings, tmp_path):
    x = workload.skeletons(settings, 4)
    position, label = workload.write_released(str(tmp_path), x)
    array = np.load(position)
    assert array.shape == (4, 3, 5, 25, 2)  # N, C, T, V, M
    assert array[2, 1, 3, 20, 0] == x[2, 0, 3, 20, 1] and array[3, 0, 4, 7, 1] == x[3, 1, 4, 7, 0]
    with open(label, 'rb') as file:
        names, labels = pickle.load(file)
    assert len(names) == 4 and labels == [0, 0, 0, 0]


def test_config_has_the_sizes(settings):
    cfg = workload.build_config(settings, 'bfloat16', {'model.temperature': 0.5})
    assert cfg.model.queue_length == 64 and cfg.model.temperature == 0.5
    assert cfg.optim_wrapper.type == 'BFloat16OptimWrapper'
    assert [hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook'] == [0]
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (2, 0, False)


def test_features_are_compared_before_they_are_timed(settings):
    _, plain = features.make_encoder(settings)
    x = torch.from_numpy(workload.skeletons(settings, 2))
    with torch.no_grad():
        ours = plain(x).mean(dim=(1, 3, 4))
    assert features.difference(ours, plain, x) < 1e-5
    with pytest.raises(RuntimeError, match='differ from those of mmaction2'):
        features.difference(ours + 0.1 * ours.max(), plain, x)
