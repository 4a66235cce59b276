"""Representations of a data set: ours from the cache, and mmaction2's ST-GCN as its tools/test.py runs it.

Both go from a checkpoint and files on the disk to all features or scores, with the same weights and batch size: reading
the data (ours from the cache, mmaction2's from the annotation file), the network in evaluation mode, and what collects
the results. mmaction2's network is built from its own classes.
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
from aimclr_mm.skeletons import Layout

from .data import CLASSES, QUERIES, skeletons, write_annotations
from .settings import Settings, layout_of, project_config, versions_of_ours
from .timing import Case, alternate, figures


def plain_encoder(cfg, layout: Layout) -> STGCN:
    """mmaction2's ST-GCN with a wider last block, on the CPU."""
    backbone = cfg.model.backbone
    plain = STGCN(
        dict(layout=layout.graph(), mode='stgcn_spatial'),
        in_channels=backbone.in_channels,
        base_channels=backbone.base_channels,
        tcn_dropout=backbone.tcn_dropout,
    )
    channels = plain.gcn[-1].gcn.in_channels
    plain.gcn[-1] = STGCNBlock(
        channels, backbone.out_channels, plain.gcn[-1].gcn.A, tcn_dropout=backbone.tcn_dropout
    )
    return plain


def make_encoder(settings: Settings) -> tuple[str, STGCN]:
    """A checkpoint of a new model, and mmaction2's network with the same weights."""
    cfg = project_config(settings)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = os.path.join(settings.folder, 'encoder.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    plain = plain_encoder(cfg, layout_of(cfg))
    plain.load_state_dict(model.encoder.backbone.state_dict())
    return path, plain.eval()


def plain_test(settings: Settings, ann_file: str, plain: STGCN) -> None:
    """mmaction2's test of a recognizer, as its tools/test.py does it."""
    init_default_scope('mmaction')
    graph = dict(layout='nturgb+d', mode='stgcn_spatial')
    recognizer = RecognizerGCN(
        dict(type='STGCN', graph_cfg=graph),
        dict(type='GCNHead', num_classes=CLASSES, in_channels=plain.gcn[-1].gcn.out_channels),
    )
    recognizer.backbone = plain
    dataset = dict(
        type='PoseDataset',
        ann_file=ann_file,
        split='all',
        test_mode=True,
        pipeline=[
            dict(type='FormatGCNInput', num_person=settings.people),
            dict(type='PackActionInputs'),
        ],
    )
    workers = 4 if settings.workers is None else settings.workers
    loader = dict(
        batch_size=settings.batch,
        num_workers=workers,
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
    """Largest difference between features of some sequences, relative to the largest feature.

    Args:
        ours: (N, C) features.
        plain: mmaction2's network.
        x: (N, M, T, V, C) the same sequences.

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
    """Sequences a second, from files to features."""
    layout = layout_of(project_config(settings))
    test = max(1, round(settings.samples * QUERIES / (1 + QUERIES)))
    if settings.samples < 2:
        raise ValueError('--samples is 1; a gallery and queries need at least 2')
    x = skeletons(settings, settings.samples, layout)
    ann_file = os.path.join(settings.folder, 'features.pkl')
    write_annotations(ann_file, layout, x[:-test], x[-test:])
    checkpoint, plain = make_encoder(settings)
    cases, difference = {}, {}
    for name, (_, variant, peer) in versions_of_ours(settings).items():
        cfg = project_config(settings, variant=variant, ann_file=ann_file)
        features = torch.from_numpy(extract_features(cfg, checkpoint).features[:8])
        difference[name] = agreement(features, plain, torch.from_numpy(x[:8]))
        cases[name] = Case(
            lambda cfg=cfg: extract_features(cfg, checkpoint), settings.samples, peer
        )
    cases['mmaction2'] = Case(lambda: plain_test(settings, ann_file, plain), settings.samples, True)
    return dict(
        largest_relative_difference=difference,
        **figures(cases, alternate(cases, settings.rounds, settings.warmup, settings.device)),
    )
