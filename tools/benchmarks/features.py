"""Representations of a data set: ours, and mmaction2's ST-GCN as its tools/test.py runs it.

Both go from a checkpoint and files to all features or scores, with the same weights and batch size:
reading the data (ours from the cache, mmaction2 from the annotation file), the network in
evaluation mode, and collecting the results. mmaction2's network is built from its own classes.
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

from .measure import Case, alternate, figures
from .settings import (
    CLASSES,
    QUERIES,
    Settings,
    layout_of,
    project_config,
    skeletons,
    versions_of_ours,
    write_annotations,
)


def make_encoder(settings: Settings) -> tuple[str, STGCN]:
    """Return a checkpoint of a new model, and mmaction2's network with the same weights."""
    cfg = project_config(settings)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = os.path.join(settings.folder, 'encoder.pth')
    torch.save(dict(state_dict=model.state_dict()), path)

    backbone, dropout = cfg.model.backbone, cfg.model.backbone.tcn_dropout
    plain = STGCN(
        dict(layout=layout_of(cfg).graph(), mode='stgcn_spatial'),
        in_channels=backbone.in_channels,
        base_channels=backbone.base_channels,
        tcn_dropout=dropout,
    )
    last = plain.gcn[-1].gcn  # the last block is wider in AimCLR
    plain.gcn[-1] = STGCNBlock(last.in_channels, backbone.out_channels, last.A, tcn_dropout=dropout)
    plain.load_state_dict(model.encoder.backbone.state_dict())
    return path, plain.eval()


def plain_test(settings: Settings, ann_file: str, plain: STGCN) -> None:
    """Run mmaction2's test of a recognizer."""
    init_default_scope('mmaction')
    recognizer = RecognizerGCN(
        dict(type='STGCN', graph_cfg=dict(layout='nturgb+d', mode='stgcn_spatial')),
        dict(type='GCNHead', num_classes=CLASSES, in_channels=plain.gcn[-1].gcn.out_channels),
    )
    recognizer.backbone = plain
    pipeline = [dict(type='FormatGCNInput', num_person=settings.people)]
    dataset = dict(
        type='PoseDataset',
        ann_file=ann_file,
        split='all',
        test_mode=True,
        pipeline=[*pipeline, dict(type='PackActionInputs')],
    )
    loader = dict(
        batch_size=settings.batch,
        num_workers=4 if settings.workers is None else settings.workers,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    Runner(
        recognizer,
        os.path.join(settings.folder, 'mmaction2'),
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=dict(type='AccMetric'),
        default_scope='mmaction',
        log_level='WARNING',
    ).test()


def agreement(ours: Tensor, plain: STGCN, x: Tensor) -> float:
    """Return the largest difference between features, relative to the largest feature.

    Args:
        ours: (N, C) features.
        plain: mmaction2's network.
        x: (N, M, T, V, C) the sequences.

    Raises:
        RuntimeError: if it is not small.
    """
    with torch.no_grad():
        theirs = pool(plain(x.to(next(plain.parameters()).device))).cpu()
    difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    if not difference < 0.01:
        raise RuntimeError(
            f'the features differ from those of mmaction2 by {difference:.2g} of the largest one'
        )
    return difference


def measure(settings: Settings) -> dict:
    """Return sequences per second, from files to features."""
    if settings.samples < 2:
        raise ValueError('--samples is 1; a gallery and queries need at least 2')
    layout = layout_of(project_config(settings))
    test = max(1, round(settings.samples * QUERIES / (1 + QUERIES)))
    x = skeletons(settings, settings.samples, layout)
    ann_file = os.path.join(settings.folder, 'features.pkl')
    write_annotations(ann_file, layout, x[:-test], x[-test:])
    checkpoint, plain = make_encoder(settings)

    cases, difference = {}, {}
    for name, (_, variant, peer) in versions_of_ours(settings).items():
        cfg = project_config(settings, variant=variant, ann_file=ann_file)
        features = torch.from_numpy(extract_features(cfg, checkpoint).features[:8])
        difference[name] = agreement(features, plain, torch.from_numpy(x[:8]))
        run = lambda cfg=cfg: extract_features(cfg, checkpoint)  # noqa: E731
        cases[name] = Case(run, settings.samples, peer)
    peer_run = lambda: plain_test(settings, ann_file, plain)  # noqa: E731
    cases['mmaction2'] = Case(peer_run, settings.samples, peer=True)
    times = alternate(cases, settings.rounds, settings.warmup)
    return dict(largest_relative_difference=difference, **figures(cases, times))
