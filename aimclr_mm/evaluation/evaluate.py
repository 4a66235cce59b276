"""One evaluation from config and checkpoint to metrics: build, load, extract, evaluate."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from statistics import mean, pstdev

from mmaction.registry import METRICS, RUNNERS
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.model import BaseModel
from mmengine.runner import Runner, autocast
from torch.utils.data import DataLoader

from aimclr_mm.checkpoints.loading import load_classifier, load_encoders
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.checkpoints.shipped import SHIPPED, shipped_config
from aimclr_mm.datasets.batch import as_batch
from aimclr_mm.engine.distributed import unwrap
from aimclr_mm.models import STREAMS
from aimclr_mm.models.methods.several_streams import models_by_stream
from aimclr_mm.models.readouts import READOUTS
from aimclr_mm.skeletons import get_layout
from aimclr_mm.utils.arguments import check_choice

from .extraction import classify, extract
from .fusion import fuse
from .linear_probe import linear
from .metrics import FeatureMetric, LinearProbeMetric
from .results import FeatureSet, ScoreSet
from .warping import dtw

CLASSIFIER = 'RecognizerGCN'
# default configs by the names of `tools/test.py --eval`
EVALUATORS = {
    'knn': dict(type='KNNMetric'),
    'knn_whitened': dict(type='KNNMetric', prefix='knn_whitened', whitened=True),
    'few_shot': dict(type='FewShotMetric'),
    'few_shot_whitened': dict(type='FewShotMetric', prefix='few_shot_whitened', whitened=True),
    'linear': dict(type='LinearProbeMetric'),
    'linear_whitened': dict(type='LinearProbeMetric', prefix='linear_whitened', whitened=True),
    'linear_large': dict(type='LinearProbeMetric', prefix='linear_large', batch_size=1024, lr=24.0),
}
DTW = 'dtw'  # of raw coordinates only
# settings that mmengine's runner would use to build more than the model
UNUSED = (
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'val_dataloader',
    'val_cfg',
    'val_evaluator',
    'test_dataloader',
    'test_cfg',
    'test_evaluator',
    'load_from',
)


def build_evaluators(cfg: Config, names: Sequence[str]) -> dict[str, FeatureMetric]:
    """Build evaluators with the settings of the config's ``test_evaluator``, or default ones.

    ``dtw`` is a name too, without an evaluator: see :func:`~aimclr_mm.evaluation.warping.dtw`.

    Raises:
        ValueError: for an unknown name or an invalid setting.
    """
    configured = cfg.get('test_evaluator') or []
    if isinstance(configured, dict):
        configured = [configured]
    known = {(evaluator['type'], evaluator.get('prefix')): evaluator for evaluator in configured}

    evaluators = {}
    for name in dict.fromkeys(names):
        check_choice('evaluator', name, (*EVALUATORS, DTW))
        if name == DTW:
            continue
        default = EVALUATORS[name]
        settings = known.get((default['type'], default.get('prefix')), default)
        evaluators[name] = METRICS.build(dict(settings))
    return evaluators


def stream_config(cfg: Config, stream: str) -> Config:
    """Return the config of one stream of a model of several; the config of any other as it is.

    Raises:
        ValueError: if the model does not have the stream.
    """
    if 'streams' not in cfg.model:
        return cfg
    check_choice('stream', stream, cfg.model.streams)
    cfg = copy.deepcopy(cfg)
    preprocessor = dict(cfg.model.data_preprocessor, stream=stream)
    single = models_by_stream(cfg.model.model, cfg.model.streams)[stream]
    cfg.model = dict(single, data_preprocessor=preprocessor)
    return cfg


def find_readout(model: Mapping) -> str:
    """Return the readout of the config of a model, of one stream or of several."""
    return next(iter(_methods(model))).get('readout', 'mean')


def _methods(model: Mapping) -> list[dict]:
    """Return the configs of the methods of a model, of one stream or of several."""
    if 'streams' not in model:
        return [model]
    return list(models_by_stream(model['model'], model['streams']).values())


def readout_config(cfg: Config, readout: str) -> Config:
    """Return a config whose model has another readout.

    Raises:
        ValueError: for an unknown readout, or a classifier, whose head needs the mean.
    """
    check_choice('readout', readout, READOUTS)
    if cfg.model.type == CLASSIFIER:
        raise ValueError(
            f'readout={readout!r}: the config is of a classifier, whose head takes the mean'
        )
    cfg = copy.deepcopy(cfg)
    for method in _methods(cfg.model):
        method['readout'] = readout
    return cfg


def shipped_on(cfg: Config, name: str) -> Config:
    """Return the config that evaluates a shipped encoder on the test data of another config.

    Network and preprocessing are those of the encoder, to whose layout the joints are mapped. The
    number of people stays that of the data.

    Args:
        cfg: config of the data.
        name: shipped encoder, see :data:`aimclr_mm.checkpoints.shipped.SHIPPED`.
    """
    encoder = Config.fromfile(shipped_config(name))
    data = cfg.test_dataloader.dataset
    people = [step for step in data.preprocess if step['type'] == 'FormatGCNInput']
    steps = [s for s in encoder.test_dataloader.dataset.preprocess if s['type'] != 'FormatGCNInput']
    mapping = dict(type='MapLayout', layout=data.layout, target=encoder.layout)

    cfg = copy.deepcopy(cfg)
    cfg.model = encoder.model
    cfg.test_dataloader.dataset.preprocess = [mapping, *steps, *people]
    return cfg


def build_model(
    cfg: Config, checkpoint: str, seed: int | None = None, stream: str | None = None
) -> BaseModel:
    """Build a network and load its weights.

    mmengine's runner sets up ranks, seeds, device and log file; its loops are not used.

    Args:
        cfg: config of the training.
        checkpoint: file that holds an encoder of any kind, see
            :func:`~aimclr_mm.checkpoints.loading.find_encoder`; a whole classifier if the config is
            of a classifier; ``random`` for an untrained encoder, ``raw`` for coordinates.
        seed: seed of the random encoder; that of the config if not given.
        stream: stream to take from a checkpoint that holds several.
    """
    cfg = cfg.copy()
    cfg.update(dict.fromkeys(UNUSED), custom_hooks=[], resume=False)
    if checkpoint == 'raw':
        cfg.model = dict(type='RawCoordinates', data_preprocessor=cfg.model.data_preprocessor)

    # all ranks must draw the same random encoder
    cfg.randomness = {'seed': None, **(cfg.get('randomness') or {}), 'diff_rank_seed': False}
    if seed is not None:
        cfg.randomness.seed = seed

    # report a bad file before the runner starts
    content = None if checkpoint in ('raw', 'random') else load_checkpoint_file(checkpoint)

    runner = RUNNERS.get(cfg.get('runner_type', 'Runner')).from_cfg(cfg)
    model = unwrap(runner.model)
    if content is not None and cfg.model.type == CLASSIFIER:
        load_classifier(model, content, checkpoint, stream)
    elif content is not None:
        load_encoders(model, content, checkpoint, stream)
    elif checkpoint == 'random':
        model.init_weights()
    return model


def build_loader(cfg: Config) -> DataLoader:
    """Build the data loader of the test data; on several ranks after :func:`build_model`."""
    if not cfg.get('test_dataloader'):
        raise ValueError(f'config {cfg.filename!r} has no test_dataloader, which evaluations need')
    return Runner.build_dataloader(cfg.test_dataloader, (cfg.get('randomness') or {}).get('seed'))


def precision(cfg: Config) -> AbstractContextManager:
    """Return the autocast context that ``test_cfg.fp16`` asks for, as mmengine's test loop does."""
    return autocast(enabled=bool((cfg.get('test_cfg') or {}).get('fp16')))


def extract_features(
    cfg: Config, checkpoint: str, seed: int | None = None, stream: str | None = None
) -> FeatureSet | None:
    """Return the representations of gallery and queries; None on ranks other than the first.

    Args:
        cfg, checkpoint, seed: see :func:`build_model`.
        stream: stream of a model or checkpoint of several; None for all streams of a model,
            concatenated.
    """
    return load_and_extract(cfg, checkpoint, seed, stream)[0]


def load_and_extract(
    cfg: Config, checkpoint: str, seed: int | None = None, stream: str | None = None
) -> tuple[FeatureSet | None, DataLoader]:
    """Return what :func:`extract_features` does, and the data loader."""
    if stream is not None:
        cfg = stream_config(cfg, stream)
    model = build_model(cfg, checkpoint, seed, stream)
    loader = build_loader(cfg)
    with precision(cfg):
        return extract(model, loader), loader


def evaluate_features(
    features: FeatureSet,
    evaluators: dict[str, FeatureMetric],
    seeds: Sequence[int | None] = (None,),
) -> tuple[dict[str, float], dict[str, list[ScoreSet]]]:
    """Run evaluators on features; a linear probe is trained once per seed.

    Args:
        features: see :func:`extract_features`.
        evaluators: by name, see :func:`build_evaluators`.
        seeds: seeds of the linear probes; None for that of the evaluator's config.

    Returns:
        Metrics in percent, over several seeds the mean and, as ``<name>_std``, the population
        standard deviation; and by evaluator the logits of each seed.
    """
    metrics, logits = {}, {}
    for name, evaluator in evaluators.items():
        if not isinstance(evaluator, LinearProbeMetric):
            runs = [evaluator.evaluate_features(features)]
        else:
            settings = evaluator.settings
            probes = [
                linear(features, **{**settings, 'seed': settings['seed'] if seed is None else seed})
                for seed in seeds
            ]
            runs = [probe.metrics for probe in probes]
            logits[name] = [probe.scores for probe in probes]
        metrics.update(summarize(runs, evaluator.prefix))
    return metrics, logits


def evaluate_warped(cfg: Config, features: FeatureSet, loader: DataLoader) -> dict[str, float]:
    """Return the accuracy of dynamic time warping on raw coordinates.

    Args:
        cfg: config of the data.
        features: flattened coordinates of the same data.
        loader: data loader of the same data.
    """
    data = cfg.test_dataloader.dataset
    layout = get_layout(data.get('layout') or cfg.model.data_preprocessor.layout)
    shape = as_batch(next(iter(loader))).inputs.shape[2:]  # (M, T, V, C)
    found = dtw(features, shape, layout.dims)
    return {f'{DTW}/{key}': value for key, value in found.items()}


def summarize(runs: Sequence[dict[str, float]], prefix: str) -> dict[str, float]:
    """Return the mean of each metric and, over several runs, its population standard deviation."""
    metrics = {f'{prefix}/{key}': mean(run[key] for run in runs) for key in runs[0]}
    if len(runs) > 1:
        metrics.update({f'{prefix}/{key}_std': pstdev(run[key] for run in runs) for key in runs[0]})
    return metrics


def save_results(
    folder: str,
    features: FeatureSet,
    logits: dict[str, list[ScoreSet]],
    seeds: Sequence[int | None],
) -> None:
    """Write ``features.npz`` and the logits of linear probes, one file per seed."""
    features.save(os.path.join(folder, 'features.npz'))
    for name, scores in logits.items():
        for seed, score_set in zip(seeds, scores):
            suffix = f'_seed{seed}' if len(scores) > 1 else ''
            score_set.save(os.path.join(folder, f'{name}{suffix}.npz'))


def evaluate_streams(
    cfg: Config,
    checkpoint: str,
    evaluators: dict[str, FeatureMetric],
    seeds: Sequence[int | None],
    dump: str | None,
) -> dict[str, float] | None:
    """Evaluate the streams of a model that trains several, and their fusion."""
    streams = list(cfg.model.streams)
    features = [extract_features(cfg, checkpoint, seeds[0], stream) for stream in streams]
    if not is_main_process():
        return None

    metrics, logits = {}, []
    for stream, stream_features in zip(streams, features):
        found, scores = evaluate_features(stream_features, evaluators, seeds)
        metrics.update({f'{stream}/{key}': value for key, value in found.items()})
        logits.append(scores)
        if dump is not None:
            save_results(os.path.join(dump, stream), stream_features, scores, seeds)

    weights = [STREAMS[stream] for stream in streams]
    of_features = {n: e for n, e in evaluators.items() if not isinstance(e, LinearProbeMetric)}
    if of_features:
        found, _ = evaluate_features(fuse(features, weights), of_features)
        metrics.update({f'fused/{key}': value for key, value in found.items()})
    for name in logits[0]:
        fused = [fuse(sets, weights) for sets in zip(*(scores[name] for scores in logits))]
        for k in (1, 5):
            metrics[f'fused/{name}/top{k}'] = mean(scores.accuracy(k) for scores in fused)
    return metrics


def evaluate_classifier(
    cfg: Config, checkpoint: str, seed: int | None, dump: str | None, stream: str | None = None
) -> dict[str, float] | None:
    """Return the accuracy of a network that was trained with labels; see :func:`evaluate`."""
    if checkpoint == 'raw':
        raise ValueError(
            "'raw' stands for coordinates without a network, but the config is of a classifier; "
            'give it a checkpoint'
        )
    model = build_model(cfg, checkpoint, seed, stream)
    with precision(cfg):
        scores = classify(model, build_loader(cfg))
    if scores is None:
        return None

    if dump is not None:
        scores.save(os.path.join(dump, 'classifier.npz'))
    return {f'acc/top{k}': scores.accuracy(k) for k in (1, 5)}


def evaluate(
    cfg: Config,
    checkpoint: str,
    names: Sequence[str] = ('knn', 'linear'),
    seeds: Sequence[int | None] = (None,),
    dump: str | None = None,
    stream: str | None = None,
    readout: str | None = None,
) -> dict[str, float] | None:
    """Evaluate a frozen encoder, several streams of them, or a classifier.

    Args:
        cfg, checkpoint: see :func:`build_model`; or the name of a shipped encoder.
        names: evaluators of frozen encoders, see :data:`EVALUATORS`; ``dtw`` is left out for all
            but ``raw``.
        seeds: seeds of the linear probe, the first one also of the random encoder; None for those
            of the config.
        dump: folder for features and scores, see :mod:`aimclr_mm.evaluation.results`.
        stream: stream to evaluate of a model or checkpoint of several; all of them if not given.
        readout: readout of encoders, see :func:`~aimclr_mm.models.readouts.represent`; that of the
            config if not given.

    Returns:
        Metrics in percent, such as ``knn/top1``; None on ranks other than the first.
    """
    if checkpoint in SHIPPED:
        cfg = shipped_on(cfg, checkpoint)
    if readout is not None and checkpoint != 'raw':
        cfg = readout_config(cfg, readout)
    if cfg.model.type == CLASSIFIER:
        return evaluate_classifier(cfg, checkpoint, seeds[0], dump, stream)

    evaluators = build_evaluators(cfg, names)
    if checkpoint != 'raw' and not evaluators:
        raise ValueError(
            f'{checkpoint!r}: dtw compares coordinates; give it raw in place of a checkpoint'
        )
    if 'streams' in cfg.model and stream is None:
        if checkpoint == 'raw' and DTW in names:
            raise ValueError('dtw compares the coordinates of one stream; choose it with --stream')
        return evaluate_streams(cfg, checkpoint, evaluators, seeds, dump)

    features, loader = load_and_extract(cfg, checkpoint, seeds[0], stream)
    if features is None:
        return None
    metrics, logits = evaluate_features(features, evaluators, seeds)
    if checkpoint == 'raw' and DTW in names:
        metrics.update(evaluate_warped(cfg, features, loader))
    if dump is not None:
        save_results(dump, features, logits, seeds)
    return metrics
