"""mmengine metrics for validation and test loops, thin around the functions of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric

from aimclr_mm.utils.device import resolve_device

from .extraction import feature_row, feature_set, score_row, score_set
from .few_shot import STRENGTH, check_few_shot, few_shot
from .linear_probe import check_schedule, linear
from .neighbors import check_neighbors, knn
from .results import FeatureSet


class FeatureMetric(BaseMetric):
    """Base of metrics of frozen features: gathers a feature set and evaluates it at the end.

    Args:
        device: device of the evaluation; None for a GPU where there is one.
        collect_device, prefix: see mmengine's ``BaseMetric``.

    Attributes:
        settings: keyword arguments of the function that the metric calls.
    """

    def __init__(
        self, device: str | None = None, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        self.settings: dict[str, Any] = dict(device=resolve_device(device))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep feature, label, role and name of each sample."""
        self.results += [feature_row(sample) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the metrics of all gathered samples."""
        return self.evaluate_features(feature_set(results))

    def evaluate_features(self, features: FeatureSet) -> dict[str, float]:
        """Return metrics in percent."""
        raise NotImplementedError


@METRICS.register_module()
class KNNMetric(FeatureMetric):
    """KNN accuracy ``knn/top1``, ``knn/top5`` and ``knn/top1_k{k}``.

    Args:
        k, weighted, temperature, whitened: see :func:`~aimclr_mm.evaluation.knn`.
        **kwargs: see :class:`FeatureMetric`.
    """

    default_prefix = 'knn'

    def __init__(
        self,
        k: int | Sequence[int] = (1, 5, 20),
        weighted: bool = False,
        temperature: float = 0.07,
        whitened: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.settings.update(k=check_neighbors(k), weighted=weighted)
        self.settings.update(temperature=temperature, whitened=whitened)

    def evaluate_features(self, features: FeatureSet) -> dict[str, float]:
        """Return the accuracies, see :func:`~aimclr_mm.evaluation.knn`."""
        return knn(features, **self.settings)


@METRICS.register_module()
class FewShotMetric(FeatureMetric):
    """Accuracy ``few_shot/top1`` of classifiers from a few examples of each class.

    Args:
        examples, draws, strength, whitened, seed: see :func:`~aimclr_mm.evaluation.few_shot`.
        **kwargs: see :class:`FeatureMetric`.
    """

    default_prefix = 'few_shot'

    def __init__(
        self,
        examples: int = 5,
        draws: int = 10,
        strength: float = STRENGTH,
        whitened: bool = False,
        seed: int = 0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_few_shot(examples, draws, strength)
        self.settings.update(examples=examples, draws=draws, strength=strength)
        self.settings.update(whitened=whitened, seed=seed)

    def evaluate_features(self, features: FeatureSet) -> dict[str, float]:
        """Return the accuracies, see :func:`~aimclr_mm.evaluation.few_shot`."""
        return few_shot(features, **self.settings)


@METRICS.register_module()
class LinearProbeMetric(FeatureMetric):
    """Accuracy of a linear probe, such as ``linear/top1`` and ``linear/best_top1``.

    Args:
        lr, epochs, milestones, batch_size, momentum, weight_decay, whitened, seed: see
            :func:`~aimclr_mm.evaluation.linear`.
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
        whitened: bool = False,
        seed: int = 0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_schedule(epochs, batch_size)
        self.settings.update(
            lr=lr,
            epochs=epochs,
            milestones=tuple(milestones),
            batch_size=batch_size,
            momentum=momentum,
            weight_decay=weight_decay,
            whitened=whitened,
            seed=seed,
        )

    def evaluate_features(self, features: FeatureSet) -> dict[str, float]:
        """Return the accuracies, see :class:`~aimclr_mm.evaluation.LinearResult`."""
        return linear(features, **self.settings).metrics


@METRICS.register_module()
class ClassifierMetric(BaseMetric):
    """Accuracies ``acc/top1`` and ``acc/top5`` of a classifier, in percent.

    For networks that were trained with labels ("Finetune Protocol", "Semi-supervised Evaluation
    Protocol"). mmaction2's ``AccMetric`` reports fractions instead of percent.
    """

    default_prefix = 'acc'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep scores, label and name of each sample."""
        self.results += [score_row(sample) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the accuracies of all gathered samples."""
        scores = score_set(results)
        return dict(top1=scores.accuracy(1), top5=scores.accuracy(5))
