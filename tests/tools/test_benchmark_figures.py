"""Arithmetic, data and checks of tools/benchmarks; test_benchmark.py runs the parts."""

import os
import pickle

import numpy as np
import pytest
import torch
from benchmarks import features, measure, profile, settings

from aimclr_mm.datasets import SkeletonDataset
from aimclr_mm.skeletons import get_layout

LAYOUT = get_layout('ntu25')


@pytest.fixture
def clock(monkeypatch):
    """A clock that only cases advance."""

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    monkeypatch.setattr(measure, 'timer', Clock())
    return measure.timer


def test_spread_of_known_values():
    assert measure.spread([3.0, 1.0, 10.0, 2.0]) == dict(
        median=2.5, min=1.0, max=10.0, rounds=[3.0, 1.0, 10.0, 2.0]
    )


def test_ratio_is_that_of_the_rounds_and_not_of_the_medians():
    cases = dict(
        ours=measure.Case(None, 10),
        theirs=measure.Case(None, 10, peer=True),
        other=measure.Case(None),
    )
    times = dict(
        ours=measure.Times([1.0, 2.0, 4.0], 7.0),
        theirs=measure.Times([8.0, 2.0, 12.0]),
        other=measure.Times([1.0, 1.0, 1.0]),
    )
    result = measure.figures(cases, times)
    assert result['ratio']['ours'] == dict(
        theirs=dict(median=3.0, min=1.0, max=8.0, rounds=[8.0, 1.0, 3.0])
    )
    assert set(result['ratio']) == {'ours', 'other'}
    assert result['measured']['ours']['samples_per_second'] == dict(
        median=5.0, min=2.5, max=10.0, rounds=[10.0, 5.0, 2.5]
    )
    assert result['measured']['ours']['peak_memory_mib'] == 7.0
    assert 'samples_per_second' not in result['measured']['other']


def test_cases_take_turns_and_warm_up_first(clock):
    order = []

    def case(name: str, seconds: float, **options) -> measure.Case:
        def run() -> None:
            order.append(name)
            clock.now += seconds

        return measure.Case(run, **options)

    times = measure.alternate(
        dict(a=case('a', 1.0, repeats=2), b=case('b', 3.0, scale=50.0)), rounds=2, warmup=2
    )
    assert ''.join(order) == 'aabb' + 'ab' + 'aab' + 'aab'
    assert times['a'].seconds == [1.0, 1.0] and times['b'].seconds == [150.0, 150.0]


@pytest.mark.skipif(
    not os.access(measure.CLEAR, os.W_OK), reason='the system does not tell the peak of memory'
)
def test_peak_memory_counts_what_is_freed_before_the_end():
    with measure.PeakMemory() as memory:
        np.ones(2**23).sum()  # 64 MiB
        held = np.ones(2**20)  # 8 MiB
    assert 60 <= memory.mebibytes < 90
    with measure.PeakMemory() as memory:
        held += 1
    assert memory.mebibytes < 8


def test_machine_says_what_was_measured_on():
    found = measure.describe()
    assert found['threads'] == torch.get_num_threads() and found['cores'] == os.cpu_count()
    assert found['versions']['torch'] == torch.__version__ and found['cpu'] != ''
    assert len((found['commit'] or 40 * ' ').removesuffix('+')) == 40


@pytest.mark.slow
def test_ceilings_are_rates_of_this_machine():
    found = measure.ceilings('cpu')
    assert set(found) == {'matmul_float32_gflops', 'matmul_bfloat16_gflops', 'memory_gbs'}
    a = torch.randn(512, 512)
    seconds = min(measure.Case(lambda: a @ a, repeats=5).seconds() for _ in range(5))
    assert 0.1 < found['matmul_float32_gflops'] / (2 * 512**3 / seconds / 1e9) < 10


@pytest.mark.parametrize(
    'name, shapes, kind',
    [
        ('aten::mkldnn_convolution', [[8, 3, 50, 25]], 'convolution'),
        ('aten::convolution_backward', [], 'convolution'),
        ('aten::addmm', [[75], [16, 75]], 'matrix product'),
        ('aten::bmm', [], 'matrix product'),
        ('aten::native_batch_norm_backward', [], 'batch norm'),
        ('aten::copy_', [[2, 2]], 'copy'),
        ('aten::cat', [], 'copy'),
        ('aten::threshold_backward', [], 'elementwise and reduction'),
        ('aten::_foreach_lerp_', [], 'optimizer and momentum'),
        ('Optimizer.step#SGD.step', [], 'optimizer and momentum'),
        ('aten::mm', [[128, 512], [512, 100]], 'comparison with the queue'),
        ('aten::_log_softmax', [[128, 513], [], []], 'comparison with the queue'),
        ('aten::conv2d', [[512, 3, 50, 25]], 'convolution'),
        ('autograd::engine', [], 'outside of operators'),
    ],
)
def test_kinds_of_operators(name, shapes, kind):
    assert profile.kind_of(name, shapes, queue=512) == kind


def test_traffic_counts_what_operators_read_and_write():
    a, b = torch.ones(4, 5), torch.ones(5, 6, dtype=torch.bfloat16)
    with profile.Traffic() as found:
        c = a @ b.float()  # 30 x 2 -> 30 x 4; 20 + 30 -> 24, x 4
        c.view(-1, 2)[0].t()
    assert (found.bytes, found.operators) == (30 * 6 + 74 * 4, 2)


def test_profile_of_a_known_product(monkeypatch):
    ceilings = dict(matmul_float32_gflops=2.0, matmul_bfloat16_gflops=4.0, memory_gbs=8.0)
    monkeypatch.setattr(profile, 'ceilings', lambda _: ceilings)
    a = torch.randn(100, 100)
    result = profile.profile(lambda: a @ a, 'cpu', queue=7)
    assert result['gflop'] == pytest.approx(2e-3) and result['traffic_gb'] == pytest.approx(1.2e-4)
    assert result['least_seconds'] == pytest.approx(
        dict(arithmetic_float32=1e-3, arithmetic_bfloat16=5e-4, traffic=1.5e-5)
    )
    assert sum(kind['share'] for kind in result['kinds'].values()) == pytest.approx(1)
    assert 'matrix product' in result['kinds'] and result['gflops'] == pytest.approx(
        2e-3 / result['seconds']
    )
    assert {row['name']: row['calls'] for row in result['operators']}['aten::mm'] == 1


@pytest.fixture
def wanted(tmp_path) -> settings.Settings:
    """Five frames of three people, of whom two are there in a quarter of the sequences."""
    return settings.Settings(str(tmp_path), frames=5, people=3, share=0.25, batch=2)


def test_skeletons_have_the_wanted_share_of_people(wanted):
    x = settings.skeletons(wanted, 8, LAYOUT)
    assert x.shape == (8, 3, 5, 25, 3) and x.dtype == np.float32
    assert [int((x[:, m] != 0).all(axis=(1, 2, 3)).sum()) for m in range(3)] == [8, 2, 2]
    assert (x[:, 1:] != 0).any(axis=(1, 2, 3, 4)).sum() == 2
    assert not np.array_equal(x[:, :, 1:], x[:, :, :-1])


def test_annotation_file_gives_the_data_back_through_the_data_set(wanted, tmp_path):
    x = settings.skeletons(wanted, 6, LAYOUT)
    settings.write_annotations(str(tmp_path / 'a.pkl'), LAYOUT, x[:4], x[4:])
    cfg = settings.project_config(wanted, ann_file=str(tmp_path / 'a.pkl')).test_dataloader.dataset
    cfg.pop('type')
    samples = list(SkeletonDataset(**cfg))
    assert [tuple(sample['inputs'].shape) for sample in samples] == [(1, 3, 5, 25, 3)] * 6
    assert np.array_equal(np.stack([sample['inputs'][0] for sample in samples]), x)
    assert [sample['data_samples'].role for sample in samples] == ['gallery'] * 4 + ['query'] * 2


def test_released_files_hold_the_same_data(wanted, tmp_path):
    x = settings.skeletons(wanted, 4, LAYOUT)
    position, label = settings.write_released(str(tmp_path / 'new'), 'train', x)
    array = np.load(position)
    assert array.shape == (4, 3, 5, 25, 3)  # N, C, T, V, M
    assert array[2, 1, 3, 20, 0] == x[2, 0, 3, 20, 1] and array[3, 0, 4, 7, 2] == x[3, 2, 4, 7, 0]
    with open(label, 'rb') as file:
        names, labels = pickle.load(file)
    assert len(names) == 4 and labels == [0, 1, 2, 3]


def test_config_gets_the_sizes(wanted):
    cfg = settings.project_config(
        settings.Settings(**{**vars(wanted), 'queue': 64, 'mining': True, 'workers': 0}),
        'bfloat16',
        {'model.temperature': 0.5},
    )
    assert cfg.model.queue_length == 64 and cfg.model.temperature == 0.5
    assert cfg.optim_wrapper.type == 'BFloat16OptimWrapper'
    assert [hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook'] == [0]
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (2, 0, False)
        assert [
            step.num_person for step in loader.dataset.preprocess if step.type == 'FormatGCNInput'
        ] == [3]


def test_features_are_compared_before_they_are_timed(wanted):
    _, plain = features.make_encoder(wanted)
    x = torch.from_numpy(settings.skeletons(wanted, 2, LAYOUT))
    with torch.no_grad():
        ours = plain(x).mean(dim=(1, 3, 4))
    assert features.agreement(ours, plain, x) < 1e-5
    with pytest.raises(RuntimeError, match='differ from those of mmaction2'):
        features.agreement(ours + 0.1 * ours.max(), plain, x)
