"""Configs of the project, read and compared."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from aimclr_mm.datasets import SkeletonBatch
from aimclr_mm.skeletons import get_layout
from aimclr_mm.utils.overlays import read_config
from tests.runs import ROOT

FOLDER = ROOT / 'configs'
LEAVES = sorted(FOLDER.glob('*.py'))  # its folders hold bases and overlays
PAPER = FOLDER / 'aimclr_ntu60_xsub_joint.py'
GENERATED = [path for path in LEAVES if '_movements_' in path.stem]  # generate their training data
OFFICIAL = FOLDER / 'aimclr_ntu60_xsub_joint_official.py'
UTD = FOLDER / 'aimclr_utdmhad_xsub_joint.py'
SYNTHETIC = FOLDER / 'aimclr_synthetic_xsub_joint.py'

SMALL = {
    'FastSTGCN': dict(base_channels=8, out_channels=16),
    'ProjectionHead': dict(in_channels=16, hidden_channels=16, out_channels=8),
    'SkeletonHead': dict(in_channels=16),
    'AimCLR': dict(queue_length=64),
    'SkeletonCLR': dict(queue_length=64),
    'HiCLR': dict(queue_length=64),
    'ActCLR': dict(queue_length=64, neighbors=16),
    **dict.fromkeys(
        ('SkeletonSTGCN', 'SkeletonAAGCN'),
        dict(base_channels=8, num_stages=2, inflate_stages=[2], down_stages=[2]),
    ),
}


def overlay_files(names: str) -> list[str]:
    """Return the paths of overlays that are named like ``methods/crosclr protocols/semi``."""
    return [str(FOLDER / f'{name}.py') for name in names.split()]


@cache
def _composed(path: Path, names: str) -> Config:
    return read_config(str(path), overlay_files(names))


def composed(path: Path, names: str = '') -> Config:
    """Return a copy of a config with overlays, which is read once."""
    return copy.deepcopy(_composed(path, names))


def hooks(cfg: Config) -> list[str]:
    """Return the types of the custom hooks."""
    return [hook.type for hook in cfg.custom_hooks]


def shrink(value: Any) -> None:
    """Make all networks of a config small."""
    if isinstance(value, dict):
        value.update(SMALL.get(value.get('type'), {}))
        for item in value.values():
            shrink(item)


def losses(cfg: Config, mining: bool = False) -> tuple[dict[str, torch.Tensor], nn.Module]:
    """Return the losses of a new model for random skeletons through its preprocessor; the model."""
    with DefaultScope.overwrite_default_scope('mmaction'):  # recognizers of mmaction2 need one
        model = MODELS.build(cfg.model)
        model.init_weights()
    model.train()
    model.mining = mining

    dataset = cfg.train_dataloader.dataset
    encoder = cfg.model.get('model', cfg.model).backbone
    joints = get_layout(dataset.layout).num_joints
    clips = 2 if cfg.model.data_preprocessor.get('pairs') else 1
    batch = SkeletonBatch(
        torch.randn(3, clips, 2, 8, joints, encoder.in_channels),  # (N, clips, M, T, V, C)
        [ActionDataSample().set_gt_label(i) for i in range(3)],
    )
    return model(**model.data_preprocessor(batch, training=True), mode='loss'), model


def flatten(value: Any, name: str = '') -> dict[str, Any]:
    """Return nested settings by their dotted name."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        items = enumerate(value)
    else:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat.update(flatten(item, f'{name}.{key}'.lstrip('.')))
    return flat


def differences(first: Config, second: Config) -> dict[str, tuple[Any, Any]]:
    """Return the settings of two configs that differ; None stands for a missing one."""
    a, b = (flatten(cfg.to_dict()) for cfg in (first, second))
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}
