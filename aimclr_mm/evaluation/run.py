"""One evaluation from config and checkpoint to metrics, for tools and notebooks."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch import nn

from aimclr_mm.compat import load_checkpoint_file
from aimclr_mm.engine.hooks import unwrap

from . import EVALUATORS


def load_encoder_weights(encoder: nn.Module, checkpoint: dict, filename: str, prefix: str = 'encoder.') -> None:
    """Loads a pre-trained encoder and refuses a checkpoint that does not fit it tensor by tensor.

    Args:
        encoder: the model's encoder (backbone and head).
        checkpoint: content of the checkpoint of a pre-training.
        filename: its name, for the message.
        prefix: what stands before the encoder's names in the checkpoint.

    Raises:
        ValueError: if a tensor is missing, left over or of another shape; the message names them.
    """
    state = checkpoint.get('state_dict', checkpoint)
    found = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    wanted = encoder.state_dict()
    problems = [f'{name} is missing' for name in wanted if name not in found]
    problems += [f'{name} is not known to the model' for name in found if name not in wanted]
    problems += [f'{name} has shape {tuple(found[name].shape)}, the model {tuple(value.shape)}'
                 for name, value in wanted.items() if name in found and found[name].shape != value.shape]
    if problems:
        shown = '; '.join(problems[:8]) + ('; ...' if len(problems) > 8 else '')
        raise ValueError(f'checkpoint {filename!r} does not fit the encoder of the config in {len(problems)} of '
                         f'{len(wanted)} tensors: {shown}. Use the config it was trained with')
    encoder.load_state_dict(found)


def evaluator_configs(cfg: Any, names: Sequence[str], seed: int | None) -> list[dict]:
    """Configs of the evaluators that are asked for; those of the config's test_evaluator where it has them.

    Raises:
        ValueError: for a name that is not known.
    """
    unknown = [name for name in names if name not in EVALUATORS]
    if unknown:
        raise ValueError(f'unknown evaluator {unknown[0]!r}; known are {", ".join(EVALUATORS)}')
    configured = cfg.get('test_evaluator') or []
    configured = configured if isinstance(configured, (list, tuple)) else [configured]
    by_type = {evaluator['type']: evaluator for evaluator in configured}
    chosen = []
    for name in dict.fromkeys(names):
        evaluator = dict(by_type.get(EVALUATORS[name].__name__, dict(type=EVALUATORS[name].__name__)))
        if seed is not None and name == 'linear':
            evaluator['seed'] = seed
        chosen.append(evaluator)
    return chosen


def build_test_runner(cfg: Any, checkpoint: str, evaluators: Sequence[dict], seed: int | None = None) -> Runner:
    """A runner that tests a frozen encoder.

    Args:
        cfg: config of the pre-training.
        checkpoint: its checkpoint; ``random`` for an encoder that was never trained, ``raw`` for the coordinates.
        evaluators: configs of evaluators.
        seed: seed of the random encoder; None leaves that of the config.
    """
    cfg = cfg.copy()
    cfg.update(test_evaluator=list(evaluators), train_dataloader=None, train_cfg=None, optim_wrapper=None,
               param_scheduler=None, val_dataloader=None, val_cfg=None, val_evaluator=None, custom_hooks=[],
               load_from=None, resume=False)
    if seed is not None:
        cfg.setdefault('randomness', {}).update(seed=seed)
    if checkpoint == 'raw':
        cfg.model = dict(type='RawCoordinates', data_preprocessor=cfg.model.data_preprocessor)
    elif checkpoint != 'random':
        content = load_checkpoint_file(checkpoint)          # a bad file is reported before the data are read
    runner = Runner.from_cfg(cfg)
    model = unwrap(runner.model)
    if checkpoint == 'random':
        model.init_weights()
    elif checkpoint != 'raw':
        load_encoder_weights(model.encoder, content, checkpoint)
    return runner


def evaluate(cfg: Any, checkpoint: str, names: Sequence[str] = ('knn', 'linear'),
             seed: int | None = None) -> dict[str, float] | None:
    """Evaluates a frozen encoder.

    Args:
        cfg, checkpoint: see :func:`build_test_runner`.
        names: evaluators, see :data:`~aimclr_mm.evaluation.EVALUATORS`.
        seed: seed of the random encoder and of the linear classifier; None leaves those of the config.

    Returns:
        Metrics in per cent, such as ``knn/top1``; None on ranks other than the first.
    """
    metrics = build_test_runner(cfg, checkpoint, evaluator_configs(cfg, names, seed), seed).test()
    return metrics if is_main_process() else None


def extract_features(cfg: Any, checkpoint: str, seed: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, C), labels (N,) and whether a sequence belongs to the bank (N,), in one process.

    Args:
        cfg, checkpoint, seed: see :func:`build_test_runner`.
    """
    runner = build_test_runner(cfg, checkpoint, [dict(type='FeatureCollector')], seed)
    runner.test()
    collected = runner.test_evaluator.metrics[0].collected
    return tuple(values.cpu().numpy() for values in collected)
