"""Sequences as the network receives them."""

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
    """Return the joint layout of a config's data.

    Raises:
        ValueError: if the config has no test_dataloader, which defines layout and preprocessing.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError(
            f'config {cfg.filename!r} has no test_dataloader, which defines the preprocessing'
        )
    preprocessor = cfg.model.get('data_preprocessor', {})
    layout = cfg.test_dataloader.dataset.get('layout') or preprocessor.get('layout', 'ntu25')
    return get_layout(layout)


def preprocess(annotation: Mapping, cfg: Config) -> Tensor:
    """Apply the preprocessing of a config's test data to a recording.

    Args:
        annotation: the recording, ``keypoint`` (M, T, V, C), in the layout of the config.
        cfg: config of a training.

    Returns:
        (1, M, T, V, C) float32, the first clip.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    dataset = cfg.test_dataloader.dataset
    layout = config_layout(cfg)
    steps = [*dataset.get('preprocess', []), *dataset.pipeline]
    pipeline = Compose([build_transform(step, layout) for step in steps])

    # the label of a recording is text, which the pipeline cannot pack
    sample = {name: value for name, value in annotation.items() if name != 'label'}
    return pipeline({**sample, 'start_index': 0, 'modality': 'Pose'})['inputs'][:1].float()


def as_sequence(x: Tensor, name: str) -> dict:
    """Return skeletons (M, T, V, C) as an annotation that can be drawn."""
    return dict(frame_dir=name, keypoint=np.asarray(x.cpu()), total_frames=x.shape[1])
