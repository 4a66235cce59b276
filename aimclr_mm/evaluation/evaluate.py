"""One evaluation from config and checkpoint to metrics, for tools and notebooks."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from statistics import mean, pstdev
from typing import Any

from mmaction.registry import METRICS
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from aimclr_mm.checkpoints.loading import load_model
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.engine.distributed import unwrap
from aimclr_mm.models import STREAMS

from . import EVALUATORS
from .features import FeatureMetric
from .results import FeatureSet, ScoreSet

CLASSIFIER = 'RecognizerGCN'


def evaluator_configs(cfg: Any, names: Sequence[str]) -> dict[str, dict]:
    """Configs of the evaluators that are asked for; those of the config's test_evaluator where it has them.

    Raises:
        ValueError: for a name that is not known.
    """
    unknown = [name for name in names if name not in EVALUATORS]
    if unknown:
        raise ValueError(f'unknown evaluator {unknown[0]!r}; known are {", ".join(EVALUATORS)}')
    configured = cfg.get('test_evaluator') or []
    configured = configured if isinstance(configured, (list, tuple)) else [configured]
    by_name = {(evaluator['type'], evaluator.get('prefix')): evaluator for evaluator in configured}
    return {
        name: dict(
            by_name.get(
                (EVALUATORS[name]['type'], EVALUATORS[name].get('prefix')), EVALUATORS[name]
            )
        )
        for name in dict.fromkeys(names)
    }


def stream_config(cfg: Any, stream: str) -> Any:
    """Config of one stream of a model that trains several at once."""
    cfg = copy.deepcopy(cfg)
    cfg.model = dict(
        cfg.model.model, data_preprocessor=dict(cfg.model.data_preprocessor, stream=stream)
    )
    return cfg


def build_test_runner(
    cfg: Any, checkpoint: str, metric: dict, seed: int | None = None, stream: str | None = None
) -> Runner:
    """A runner that tests a network.

    Args:
        cfg: config of the training.
        checkpoint: its checkpoint; ``random`` for an encoder that was never trained, ``raw`` for the coordinates.
        metric: config of the metric.
        seed: seed of the random encoder; None leaves that of the config.
        stream: the stream to take from a checkpoint that holds several.
    """
    cfg = cfg.copy()
    cfg.update(
        test_evaluator=[metric],
        train_dataloader=None,
        train_cfg=None,
        optim_wrapper=None,
        param_scheduler=None,
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
        custom_hooks=[],
        load_from=None,
        resume=False,
    )
    # the random encoder is drawn on each rank, and must be the same
    cfg.randomness = {'seed': None, **(cfg.get('randomness') or {}), 'diff_rank_seed': False}
    if seed is not None:
        cfg.randomness.seed = seed
    if checkpoint == 'raw':
        cfg.model = dict(type='RawCoordinates', data_preprocessor=cfg.model.data_preprocessor)
    elif checkpoint != 'random':
        content = load_checkpoint_file(
            checkpoint
        )  # a bad file is reported before the data are read
    runner = Runner.from_cfg(cfg)
    model = unwrap(runner.model)
    if checkpoint == 'random':
        model.init_weights()
    elif checkpoint != 'raw':
        load_model(model, content, checkpoint, stream)
    return runner


def extract_features(
    cfg: Any, checkpoint: str, seed: int | None = None, stream: str | None = None
) -> FeatureSet | None:
    """Representations of gallery and queries; None on ranks other than the first.

    Args:
        cfg, checkpoint, seed: see :func:`build_test_runner`.
        stream: of a model that trains several at once; None for all of them side by side.
    """
    if stream is not None:
        cfg = stream_config(cfg, stream)
    runner = build_test_runner(cfg, checkpoint, dict(type='FeatureCollector'), seed, stream)
    runner.test()
    return runner.test_evaluator.metrics[0].collected


def evaluate_features(
    features: FeatureSet,
    evaluators: dict[str, dict],
    seeds: Sequence[int | None],
    dump: str | None = None,
) -> tuple[dict[str, float], dict[str, list[ScoreSet]]]:
    """Runs evaluators on features; a linear classifier is trained once a seed.

    Args:
        features: see :func:`extract_features`.
        evaluators: configs by name, see :func:`evaluator_configs`.
        seeds: of the linear classifiers; None for that of the evaluator's config.
        dump: folder for the features and for the logits of linear classifiers.

    Returns:
        Metrics in per cent, of several seeds the mean, and the spread as ``<name>_std`` (population standard
        deviation); and by evaluator the logits of every seed.
    """
    metrics, scores = {}, {}
    for name, evaluator in evaluators.items():
        linear = evaluator['type'] == 'LinearProbeMetric'
        runs = []
        for seed in seeds if linear else seeds[:1]:
            seeded = linear and seed is not None
            metric: FeatureMetric = METRICS.build(
                dict(evaluator, seed=seed) if seeded else evaluator
            )
            runs.append(
                {
                    f'{metric.prefix}/{key}': value
                    for key, value in metric.evaluate_features(features).items()
                }
            )
            if linear:
                scores.setdefault(name, []).append(metric.score_set(features))
        metrics.update({key: mean(run[key] for run in runs) for key in runs[0]})
        if len(runs) > 1:
            metrics.update({f'{key}_std': pstdev(run[key] for run in runs) for key in runs[0]})
    if dump is not None:
        features.save(os.path.join(dump, 'features.npz'))
        for name, sets in scores.items():
            for seed, score_set in zip(seeds, sets):
                suffix = f'_seed{seed}' if len(sets) > 1 else ''
                score_set.save(os.path.join(dump, f'{name}{suffix}.npz'))
    return metrics, scores


def evaluate_streams(
    cfg: Any,
    checkpoint: str,
    evaluators: dict[str, dict],
    seeds: Sequence[int | None],
    dump: str | None,
) -> dict[str, float] | None:
    """Evaluates each stream of a model that trains several, and their fusion."""
    metrics, features, scores = {}, [], []
    for stream in cfg.model.streams:
        features.append(extract_features(cfg, checkpoint, seeds[0], stream))
        if not is_main_process():
            continue
        folder = None if dump is None else os.path.join(dump, stream)
        result, logits = evaluate_features(features[-1], evaluators, seeds, folder)
        scores.append(logits)
        metrics.update({f'{stream}/{key}': value for key, value in result.items()})
    if not is_main_process():
        return None
    weights = [STREAMS[stream] for stream in cfg.model.streams]
    if 'knn' in evaluators:
        knn, _ = evaluate_features(
            FeatureSet.concat(features, weights), {'knn': evaluators['knn']}, seeds
        )
        metrics.update({f'fused/{key}': value for key, value in knn.items()})
    for name in scores[0]:
        fused = [ScoreSet.fuse([s[name][i] for s in scores], weights) for i in range(len(seeds))]
        for k in (1, 5):
            metrics[f'fused/{name}/top{k}'] = mean(score_set.accuracy(k) for score_set in fused)
    return metrics


def evaluate_classifier(
    cfg: Any, checkpoint: str, seed: int | None, dump: str | None
) -> dict[str, float] | None:
    """Accuracy of a network that was trained with labels."""
    if checkpoint == 'raw':
        raise ValueError(
            "'raw' stands for coordinates without a network, but the config is of a classifier; give it a "
            'checkpoint'
        )
    runner = build_test_runner(cfg, checkpoint, dict(type='ClassifierMetric'), seed)
    metrics = runner.test()
    if not is_main_process():
        return None
    if dump is not None:
        runner.test_evaluator.metrics[0].collected.save(os.path.join(dump, 'classifier.npz'))
    return metrics


def evaluate(
    cfg: Any,
    checkpoint: str,
    names: Sequence[str] = ('knn', 'linear'),
    seeds: Sequence[int | None] = (None,),
    dump: str | None = None,
) -> dict[str, float] | None:
    """Evaluates a frozen encoder, several streams of them, or a classifier.

    Args:
        cfg, checkpoint: see :func:`build_test_runner`.
        names: evaluators of frozen encoders, see :data:`~aimclr_mm.evaluation.EVALUATORS`.
        seeds: of the linear classifier; the first one also that of the random encoder; None for those of the config.
        dump: folder for features and scores, see :mod:`aimclr_mm.evaluation.results`.

    Returns:
        Metrics in per cent, such as ``knn/top1``; None on ranks other than the first.
    """
    if cfg.model.type == CLASSIFIER:
        return evaluate_classifier(cfg, checkpoint, seeds[0], dump)
    evaluators = evaluator_configs(cfg, names)
    if cfg.model.type == 'CrossStream':
        return evaluate_streams(cfg, checkpoint, evaluators, seeds, dump)
    features = extract_features(cfg, checkpoint, seeds[0])
    return None if features is None else evaluate_features(features, evaluators, seeds, dump)[0]
