"""Linear evaluation ("Linear Evaluation Protocol"): a linear classifier on frozen features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import METRICS
from rich.progress import track
from torch import Tensor, nn

from .features import FeatureMetric, top_k_accuracy


def train_linear(
    gallery: Tensor,
    gallery_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    *,
    lr: float,
    epochs: int,
    milestones: Sequence[int],
    batch_size: int,
    momentum: float,
    weight_decay: float,
    seed: int,
    progress: bool = False,
) -> tuple[list[tuple[float, float]], Tensor]:
    """Trains a linear classifier on the gallery and tests it on the queries after every epoch.

    The encoder is frozen and there is no augmentation, so that the features of each epoch are the same; they are
    computed once. Weights start at N(0, 0.02), biases at zero, as in the released code.

    Args:
        gallery, gallery_labels: (B, C) features and (B,) labels to train on.
        queries, labels: (Q, C) features and (Q,) labels to test on.
        lr: learning rate of SGD, times 0.1 from each of ``milestones`` (0-based epochs) on.
        epochs: passes over the gallery.
        batch_size: samples a step; the last step of an epoch takes what remains.
        momentum, weight_decay: of SGD.
        seed: of the initial weights and the order of samples.
        progress: show a progress bar.

    Returns:
        (top-1, top-5) accuracy on the queries in per cent after each epoch, and the logits (Q, classes) after the
        last one.
    """
    generator = torch.Generator().manual_seed(seed)
    num_classes = int(max(gallery_labels.max(), labels.max())) + 1
    classifier = nn.utils.skip_init(nn.Linear, gallery.shape[1], num_classes, device=gallery.device)
    with torch.no_grad():
        classifier.weight.copy_(
            torch.empty(classifier.weight.shape).normal_(0.0, 0.02, generator=generator)
        )
        classifier.bias.zero_()
    optimizer = torch.optim.SGD(classifier.parameters(), lr, momentum, weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), 0.1)
    history = []
    for _ in track(range(epochs), 'Linear classifier', disable=not progress):
        for batch in (
            torch.randperm(len(gallery), generator=generator).to(gallery.device).split(batch_size)
        ):
            loss = F.cross_entropy(classifier(gallery[batch]), gallery_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        with torch.no_grad():
            scores = classifier(queries)
        history.append((top_k_accuracy(scores, labels, 1), top_k_accuracy(scores, labels, 5)))
    return history, scores


@METRICS.register_module()
class LinearProbeMetric(FeatureMetric):
    """Accuracy of a linear classifier on frozen features, in per cent, with the paper's recipe as default.

    ``linear/top1`` and ``linear/top5`` are those of the last epoch; ``linear/best_top1`` and ``linear/best_top5``
    those of the epoch that is best on the test split, which is what the released code reports and is optimistic,
    as the test split chooses; ``linear/best_epoch`` is its 1-based number.

    Args:
        lr, epochs, milestones, batch_size, momentum, weight_decay, seed: see :func:`train_linear`.
        **kwargs: see :class:`FeatureMetric`.
    """

    default_prefix = 'linear'

    def __init__(
        self,
        lr: float = 3.0,
        epochs: int = 100,
        milestones: Sequence[int] = (80,),
        batch_size: int = 128,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        seed: int = 0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if epochs < 1 or batch_size < 1:
            raise ValueError(
                f'LinearProbeMetric: epochs={epochs}, batch_size={batch_size}; both must be at least 1'
            )
        self.recipe = dict(
            lr=lr,
            epochs=epochs,
            milestones=tuple(milestones),
            batch_size=batch_size,
            momentum=momentum,
            weight_decay=weight_decay,
            seed=seed,
        )

    def score(
        self, gallery: Tensor, gallery_labels: Tensor, queries: Tensor, labels: Tensor
    ) -> dict[str, float]:
        """Top-1 and top-5 of the last and of the best epoch."""
        with torch.enable_grad():
            history, self.scores = train_linear(
                gallery,
                gallery_labels,
                queries,
                labels,
                progress=len(gallery) > 20000,
                **self.recipe,
            )
        best = max(range(len(history)), key=lambda epoch: history[epoch])
        return dict(
            top1=history[-1][0],
            top5=history[-1][1],
            best_top1=history[best][0],
            best_top5=history[best][1],
            best_epoch=best + 1,
        )
