"""Linear evaluation with the paper's 100 epochs: features once, against the frozen encoder in every epoch.

The peers run the encoder as often as the released code does: on the training split every epoch, on the test split every
fifth. Few epochs of theirs are measured, each with a fifth of the test split, and scaled to 100; the result says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.models.backbones import STGCN
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from aimclr_mm.evaluation.evaluate import evaluate
from aimclr_mm.models.encoder import pool

from .data import CLASSES, QUERIES, labels, skeletons, write_annotations, write_released
from .features import make_encoder
from .official import Official
from .settings import Settings, layout_of, project_config, versions_of_ours
from .timing import Case, alternate, figures

EPOCHS = 100  # of the paper
TEST_INTERVAL = 5  # of the released code


def frozen_epochs(
    settings: Settings, plain: STGCN, train: np.ndarray, test: np.ndarray
) -> Callable[[], None]:
    """A function that trains a linear layer on a frozen encoder, which it runs in every step, from memory."""
    plain = plain.to(settings.device)
    classifier = nn.Linear(plain.gcn[-1].gcn.out_channels, CLASSES).to(settings.device)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=3.0, momentum=0.9)
    loaders = [
        DataLoader(
            TensorDataset(torch.from_numpy(x), torch.from_numpy(labels(len(x)))),
            settings.batch,
            shuffle=x is train,
        )
        for x in (train, test)
    ]

    def features(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return pool(plain(x.to(settings.device)))

    def run() -> None:
        for _ in range(settings.epochs):
            for x, y in loaders[0]:
                loss = F.cross_entropy(classifier(features(x)), y.to(settings.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            for x, _ in loaders[1]:
                classifier(features(x)).argmax(dim=1).cpu()

    return run


def released_epochs(
    settings: Settings, official: Official, train: np.ndarray, test: np.ndarray
) -> Callable[[], None]:
    """A function that runs epochs of the released linear evaluation."""
    processor = official.processor(
        'linear',
        settings,
        write_released(settings.folder, 'linear_train', train),
        write_released(settings.folder, 'linear_test', test),
    )

    def run() -> None:
        with official.running():
            for _ in range(settings.epochs):
                processor.train(1)
                processor.test(1)

    return run


def measure(settings: Settings) -> dict:
    """Seconds of a linear evaluation of some training sequences and, for each, NTU-60's share of test sequences."""
    official = None if settings.official is None else Official(settings.official, settings.device)
    layout = layout_of(project_config(settings))
    queries = max(TEST_INTERVAL, round(settings.samples * QUERIES))
    x = skeletons(settings, settings.samples + queries, layout)
    train, test = x[: settings.samples], x[settings.samples :]
    ann_file = os.path.join(settings.folder, 'linear.pkl')
    write_annotations(ann_file, layout, train, test)
    checkpoint, plain = make_encoder(settings)
    cases = {}
    for name, (_, variant, peer) in versions_of_ours(settings).items():
        cfg = project_config(settings, variant=variant, ann_file=ann_file)
        cases[name] = Case(
            lambda cfg=cfg: evaluate(cfg, checkpoint, ('linear',)), settings.samples, peer
        )
    fifth, scale = test[: len(test) // TEST_INTERVAL], EPOCHS / settings.epochs
    cases['frozen encoder of mmaction2'] = Case(
        frozen_epochs(settings, plain, train, fifth), settings.samples, True, scale=scale
    )
    if official is not None:
        cases['released'] = Case(
            released_epochs(settings, official, train, fifth), settings.samples, True, scale=scale
        )
    return dict(
        epochs=EPOCHS,
        peer_extrapolated_from_epochs=settings.epochs,
        test_sequences=queries,
        **figures(cases, alternate(cases, settings.rounds, settings.warmup, settings.device)),
    )
