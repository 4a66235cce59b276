"""Linear evaluation of 100 epochs: features once, against the frozen encoder in every epoch.

The peers run the encoder as often as the released code: on the training split every epoch, on the
test split every fifth. Few of their epochs are measured, each with a fifth of the test split, and
scaled to 100.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.models.backbones import STGCN
from torch import nn

from aimclr_mm.evaluation.evaluate import evaluate
from aimclr_mm.models.encoder import pool

from .features import make_encoder
from .measure import Case, alternate, figures
from .official import Official
from .settings import (
    CLASSES,
    QUERIES,
    Settings,
    labels,
    layout_of,
    project_config,
    skeletons,
    versions_of_ours,
    write_annotations,
    write_released,
)

EPOCHS = 100  # of the paper
TEST_INTERVAL = 5  # of the released code


def frozen_epochs(
    settings: Settings, plain: STGCN, train: np.ndarray, test: np.ndarray
) -> Callable[[], None]:
    """Return a function that trains a linear layer on a frozen encoder, run in every step."""
    device = settings.device
    plain = plain.to(device)
    classifier = nn.Linear(plain.gcn[-1].gcn.out_channels, CLASSES).to(device)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=3.0, momentum=0.9)
    x, queries, y = (torch.from_numpy(array) for array in (train, test, labels(len(train))))

    def scores(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = pool(plain(x.to(device)))
        return classifier(features)

    def run() -> None:
        for _ in range(settings.epochs):
            for batch in torch.randperm(len(x)).split(settings.batch):
                loss = F.cross_entropy(scores(x[batch]), y[batch].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            for batch in queries.split(settings.batch):
                scores(batch).argmax(dim=1).cpu()

    return run


def released_epochs(
    settings: Settings, official: Official, train: np.ndarray, test: np.ndarray
) -> Callable[[], None]:
    """Return a function that runs epochs of the released linear evaluation."""
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
    """Return seconds of a linear evaluation, with NTU-60's ratio of test to training sequences."""
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
        run = lambda cfg=cfg: evaluate(cfg, checkpoint, ('linear',))  # noqa: E731
        cases[name] = Case(run, settings.samples, peer)

    fifth = test[: len(test) // TEST_INTERVAL]
    peers = {'frozen encoder of mmaction2': frozen_epochs(settings, plain, train, fifth)}
    if settings.official is not None:
        official = Official(settings.official, settings.device)
        peers['released'] = released_epochs(settings, official, train, fifth)
    scale = EPOCHS / settings.epochs
    for name, run in peers.items():
        cases[name] = Case(run, settings.samples, peer=True, scale=scale)

    times = alternate(cases, settings.rounds, settings.warmup)
    return dict(
        epochs=EPOCHS,
        peer_extrapolated_from_epochs=settings.epochs,
        test_sequences=queries,
        **figures(cases, times),
    )
