"""Features of a data set: ours, and mmaction2's STGCN as mmaction2's tools/test.py runs it.

Both go from a checkpoint and files to all features or scores, with the same weights and batch size:
reading the data (ours from the cache, mmaction2 from the annotation file), the network in
evaluation mode, and collecting the results.
"""

from __future__ import annotations

import os

import torch
from mmaction.models import RecognizerGCN
from mmaction.models.backbones.stgcn import STGCN, STGCNBlock
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from aimclr_mm.evaluation.evaluate import extract_features
from aimclr_mm.models.encoder import pool

from .released import WORKERS
from .timing import Case, compare
from .workload import (
    CLASSES,
    PEOPLE,
    Settings,
    build_config,
    layout_of,
    our_configs,
    skeletons,
    write_annotations,
)

TOLERANCE = 0.01  # of features, relative to the largest one


def make_encoder(settings: Settings) -> tuple[str, STGCN]:
    """Return a checkpoint of a new model, and mmaction2's network with the same weights."""
    cfg = build_config(settings)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = os.path.join(settings.folder, 'encoder.pth')
    torch.save(dict(state_dict=model.state_dict()), path)

    backbone = cfg.model.backbone
    plain = STGCN(
        dict(layout=layout_of(settings).graph(), mode='stgcn_spatial'),
        in_channels=backbone.in_channels,
        base_channels=backbone.base_channels,
    )
    last = plain.gcn[-1].gcn  # the last block is wider in AimCLR
    plain.gcn[-1] = STGCNBlock(last.in_channels, backbone.out_channels, last.A)
    plain.load_state_dict(model.encoder.backbone.state_dict())
    return path, plain.eval()


def build_peer(settings: Settings, ann_file: str, plain: STGCN) -> Runner:
    """Return mmaction2's runner that tests a recognizer with the given backbone."""
    init_default_scope('mmaction')
    recognizer = RecognizerGCN(
        dict(type='STGCN', graph_cfg=dict(layout='nturgb+d', mode='stgcn_spatial')),
        dict(type='GCNHead', num_classes=CLASSES, in_channels=plain.gcn[-1].gcn.out_channels),
    )
    recognizer.backbone = plain
    dataset = dict(
        type='PoseDataset',
        ann_file=ann_file,
        split='all',
        test_mode=True,
        pipeline=[dict(type='FormatGCNInput', num_person=PEOPLE), dict(type='PackActionInputs')],
    )
    return Runner(
        recognizer,
        os.path.join(settings.folder, 'mmaction2'),
        test_dataloader=dict(
            batch_size=settings.batch,
            num_workers=WORKERS if settings.workers is None else settings.workers,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        test_cfg=dict(),
        test_evaluator=dict(type='AccMetric'),
        default_scope='mmaction',
        log_level='WARNING',
    )


def difference(ours: Tensor, plain: STGCN, x: Tensor) -> float:
    """Return the largest difference of our features (N, C), relative to the largest feature.

    Args:
        ours: (N, C).
        plain: mmaction2's network.
        x: (N, M, T, V, C) the sequences.
    """
    with torch.no_grad():
        theirs = pool(plain(x.to(next(plain.parameters()).device))).cpu()
    largest = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    if not largest < TOLERANCE:
        raise RuntimeError(f'the features differ from those of mmaction2 by {largest:.2g}')
    return largest


def measure(settings: Settings) -> dict:
    """Return sequences per second, from files to features."""
    if settings.samples < 2:
        raise ValueError('--samples is 1; a gallery and queries need at least 2')
    x = skeletons(settings, settings.samples)
    ann_file = write_annotations(settings, x, queries=max(1, len(x) // 4))
    checkpoint, plain = make_encoder(settings)

    cases, differences = {}, {}
    for name, (cfg, peer) in our_configs(settings, ann_file).items():

        def run(cfg=cfg) -> Tensor:
            return torch.from_numpy(extract_features(cfg, checkpoint).features)

        differences[name] = difference(run()[:8], plain, torch.from_numpy(x[:8]))
        cases[name] = Case(run, len(x), peer)

    def run_peer() -> None:
        build_peer(settings, ann_file, plain).test()

    cases['mmaction2'] = Case(run_peer, len(x), peer=True)
    return dict(
        largest_relative_difference=differences, **compare('features', cases, settings.rounds)
    )
