"""From config to metrics: evaluators of a config, seeds, files of results, early errors."""

from statistics import mean, pstdev

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from aimclr_mm.evaluation import FeatureSet, ScoreSet, knn, linear
from aimclr_mm.evaluation.evaluate import (
    build_evaluators,
    build_loader,
    build_model,
    evaluate,
    evaluate_features,
    precision,
    save_results,
)

from .helpers import noisy_features

PROBE = dict(type='LinearProbeMetric', epochs=3, milestones=(1,), device='cpu')


def config(*evaluators: dict) -> Config:
    return Config(dict(model=dict(type='AimCLR'), test_evaluator=list(evaluators)))


def test_settings_are_those_of_the_config_or_the_defaults():
    cfg = config(dict(type='KNNMetric', k=[7]), dict(PROBE, prefix='other', lr=9.0))
    evaluators = build_evaluators(cfg, ['linear', 'knn', 'linear_large', 'knn'])
    assert list(evaluators) == ['linear', 'knn', 'linear_large']
    assert evaluators['knn'].settings['k'] == [7]
    assert evaluators['linear'].settings['lr'] == 3.0  # the one of the config has another prefix
    large = evaluators['linear_large']
    assert large.prefix == 'linear_large'
    assert large.settings['batch_size'] == 1024 and large.settings['lr'] == 24.0


def test_a_single_evaluator_need_not_be_a_list():
    cfg = Config(dict(test_evaluator=dict(type='KNNMetric', k=3)))
    assert build_evaluators(cfg, ['knn'])['knn'].settings['k'] == [3]


@pytest.mark.parametrize('seeds', [(None,), (4,), (0, 1, 5)])
def test_metrics_are_means_over_the_seeds_of_linear_probes(seeds):
    features = noisy_features()
    evaluators = build_evaluators(config(dict(type='KNNMetric', k=3), PROBE), ['knn', 'linear'])
    metrics, logits = evaluate_features(features, evaluators, seeds)

    settings = dict(epochs=3, milestones=(1,), device='cpu')
    probes = [linear(features, **settings, seed=seed or 0) for seed in seeds]
    expected = {f'knn/{key}': value for key, value in knn(features, 3).items()}
    for key in probes[0].metrics:
        values = [probe.metrics[key] for probe in probes]
        expected[f'linear/{key}'] = mean(values)
        if len(seeds) > 1:
            expected[f'linear/{key}_std'] = pstdev(values)
    assert metrics == pytest.approx(expected)

    assert list(logits) == ['linear']
    for found, probe in zip(logits['linear'], probes, strict=True):
        np.testing.assert_array_equal(found.scores, probe.scores.scores)


@pytest.mark.parametrize(
    'seeds, names', [((3,), {'linear'}), ((0, 2), {'linear_seed0', 'linear_seed2'})]
)
def test_results_are_files(tmp_path, seeds, names):
    features = noisy_features()
    evaluators = build_evaluators(config(PROBE), ['linear'])
    _, logits = evaluate_features(features, evaluators, seeds)
    save_results(str(tmp_path), features, logits, seeds)

    assert {path.stem for path in tmp_path.iterdir()} == {'features'} | names
    np.testing.assert_array_equal(
        FeatureSet.load(str(tmp_path / 'features.npz')).features, features.features
    )
    for name, scores in zip(sorted(names), logits['linear']):
        np.testing.assert_array_equal(
            ScoreSet.load(str(tmp_path / f'{name}.npz')).scores, scores.scores
        )


@pytest.mark.parametrize(
    'cfg, names, message',
    [
        (
            config(),
            ['svm'],
            "evaluator='svm'; choose from 'knn', 'knn_whitened', 'few_shot', "
            "'few_shot_whitened', 'linear', 'linear_whitened', 'linear_large', 'dtw'",
        ),
        (config(), ['dtw'], "'gone.pth': dtw compares coordinates; give it raw"),
        (config(dict(type='KNNMetric', k=0)), ['knn'], 'at least 1'),
        (config(dict(PROBE, device='nowhere')), ['linear'], "device='nowhere' cannot be used here"),
    ],
)
def test_invalid_evaluators_are_refused_before_features_are_computed(cfg, names, message):
    with pytest.raises(ValueError, match=message):
        evaluate(cfg, 'gone.pth', names)


def test_time_warping_needs_one_stream():
    cfg = config()
    cfg.model = dict(type='CrossStream', streams=['joint', 'bone'], model=cfg.model)
    with pytest.raises(ValueError, match='dtw compares the coordinates of one stream'):
        evaluate(cfg, 'raw', ['knn', 'dtw'])


def test_a_bad_checkpoint_is_refused_before_the_runner_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, 'from_cfg', lambda cfg: pytest.fail('a runner was built'))
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        build_model(config(), str(tmp_path / 'gone.pth'))


def test_test_data_are_needed():
    with pytest.raises(ValueError, match='has no test_dataloader'):
        build_loader(config())


def test_raw_coordinates_of_a_classifier_are_refused():
    with pytest.raises(ValueError, match="'raw' stands for coordinates"):
        evaluate(Config(dict(model=dict(type='RecognizerGCN'))), 'raw')


@pytest.mark.parametrize('fp16', [False, True])
def test_half_precision_is_that_of_the_test_config(fp16):
    with precision(Config(dict(test_cfg=dict(fp16=fp16)))):
        assert (torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()) == fp16
    with precision(Config({})):
        assert not (torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled())
