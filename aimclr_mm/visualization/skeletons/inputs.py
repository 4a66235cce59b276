"""A sequence as the networks get it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from aimclr_mm.datasets.skeleton_dataset import build_transform
from aimclr_mm.skeletons import Layout, get_layout


def config_layout(cfg: Config) -> Layout:
    """Joint layout of a config's data.

    Raises:
        ValueError: if the config has no test data, which tell the preprocessing too.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError(
            f'config {cfg.filename!r} has no test_dataloader, which tells the preprocessing'
        )
    layout = cfg.test_dataloader.dataset.get('layout') or cfg.model.get(
        'data_preprocessor', {}
    ).get('layout', 'ntu25')
    return get_layout(layout)


def preprocessed(annotation: Mapping, cfg: Config) -> Tensor:
    """A sequence after the preprocessing of a config's test data, (1, M, T, V, C); of several clips the first.

    Args:
        annotation: the recording, ``keypoint`` (M, T, V, C), of the layout of the config.
        cfg: config of a training.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    data, layout = cfg.test_dataloader.dataset, config_layout(cfg)
    steps = Compose(
        [build_transform(step, layout) for step in [*data.get('preprocess', []), *data.pipeline]]
    )
    unlabelled = {
        name: value for name, value in annotation.items() if name != 'label'
    }  # it is text here
    return steps({**unlabelled, 'start_index': 0, 'modality': 'Pose'})['inputs'][:1].float()


def as_sequence(x: Tensor, name: str) -> dict:
    """Skeletons (M, T, V, C) as an annotation that can be drawn."""
    return dict(frame_dir=name, keypoint=np.asarray(x.cpu()), total_frames=x.shape[1])
