"""Linear classification of frozen features ("Linear Evaluation Protocol")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn

from aimclr_mm.utils.device import resolve_device

from .results import FeatureSet, ScoreSet, top_k_accuracy
from .whitening import whiten

LONG = 20000  # gallery sequences from which on a progress bar is shown


class LinearResult(NamedTuple):
    """Result of a linear probe."""

    history: list[tuple[float, float]]  # top-1 and top-5 accuracy in percent after each epoch
    scores: ScoreSet  # logits of the queries after the last epoch

    @property
    def metrics(self) -> dict[str, float]:
        """Accuracies in percent of the last and of the best epoch.

        ``top1`` and ``top5`` belong to the last epoch. ``best_top1`` and ``best_top5`` belong to
        ``best_epoch`` (1-based), the best one on the test split. The released code reports the
        best epoch, which is optimistic, since it is chosen on the test split.
        """
        best = max(range(len(self.history)), key=lambda epoch: self.history[epoch])
        return dict(
            top1=self.history[-1][0],
            top5=self.history[-1][1],
            best_top1=self.history[best][0],
            best_top5=self.history[best][1],
            best_epoch=best + 1,
        )


def check_schedule(epochs: int, batch_size: int) -> None:
    """Raise ValueError unless there is at least one epoch and one sample per batch."""
    if epochs < 1 or batch_size < 1:
        raise ValueError(
            f'linear probe: epochs={epochs}, batch_size={batch_size}; both must be at least 1'
        )


def build_classifier(
    channels: int, num_classes: int, generator: torch.Generator, device: torch.device
) -> nn.Linear:
    """Build a linear layer with weights N(0, 0.02) and zero bias, as in the released code."""
    classifier = nn.utils.skip_init(nn.Linear, channels, num_classes, device=device)
    weight = torch.empty(num_classes, channels).normal_(0.0, 0.02, generator=generator)
    with torch.no_grad():
        classifier.weight.copy_(weight)
        classifier.bias.zero_()
    return classifier


def train_epoch(
    classifier: nn.Linear,
    optimizer: torch.optim.Optimizer,
    features: Tensor,
    labels: Tensor,
    batches: Sequence[Tensor],
) -> None:
    """Train for one epoch.

    Args:
        classifier, optimizer: changed in place.
        features, labels: (N, C) and (N,).
        batches: indices of the samples of each step.
    """
    for batch in batches:
        loss = F.cross_entropy(classifier(features[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.enable_grad()  # evaluation loops disable gradients
def linear(
    features: FeatureSet,
    lr: float = 3.0,
    epochs: int = 100,
    milestones: Sequence[int] = (80,),
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    whitened: bool = False,
    seed: int = 0,
    device: str | None = None,
) -> LinearResult:
    """Train a linear classifier on the gallery and test it on the queries after every epoch.

    The defaults are the settings of the paper. Features are the same in every epoch.

    Args:
        features: gallery and queries.
        lr: learning rate of SGD.
        epochs: passes over the gallery.
        milestones: 0-based epochs from which on the learning rate is multiplied by 0.1.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        momentum, weight_decay: of SGD.
        whitened: whiten the features by those of the gallery, see
            :mod:`~aimclr_mm.evaluation.whitening`.
        seed: seed of the initial weights and of the order of the samples.
        device: device of the computation; None for a GPU where there is one.

    Raises:
        ValueError: if the schedule or the device cannot be used.
    """
    check_schedule(epochs, batch_size)
    gallery, gallery_labels, queries, labels = features.split(resolve_device(device))
    if whitened:
        gallery, queries = whiten(gallery, queries)
    num_classes = int(max(gallery_labels.max(), labels.max())) + 1

    generator = torch.Generator().manual_seed(seed)
    classifier = build_classifier(gallery.shape[1], num_classes, generator, gallery.device)
    optimizer = torch.optim.SGD(classifier.parameters(), lr, momentum, weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), 0.1)

    history = []
    for _ in track(range(epochs), 'Linear classifier', disable=len(gallery) <= LONG):
        order = torch.randperm(len(gallery), generator=generator).to(gallery.device)
        train_epoch(classifier, optimizer, gallery, gallery_labels, order.split(batch_size))
        scheduler.step()

        with torch.no_grad():
            logits = classifier(queries)  # (Q, classes)
        history.append((top_k_accuracy(logits, labels, 1), top_k_accuracy(logits, labels, 5)))

    is_query = ~features.gallery
    scores = ScoreSet(logits.cpu().numpy(), features.labels[is_query], features.names[is_query])
    return LinearResult(history, scores)
